module stele.conform/nats-cli

go 1.26.8

require github.com/nats-io/natscli v0.3.0
