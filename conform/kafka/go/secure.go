package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
)

// login cases: right and wrong password, unknown user.
func login(mechanism string) func(*rig) any {
	return func(r *rig) any {
		verdict := func(user, password string) int { return r.login(r.options.sasl, mechanism, user, password, nil) }
		return object{"right": verdict("alice", "alice-secret"), "wrong": verdict("alice", "guess"), "unknown": verdict("nobody", "alice-secret")}
	}
}

// lister is a client that can change and list who may do what to a topic.
type lister interface {
	allow(principal, operation, topic string) int
	// allowed are principal, operation, permission and host of each rule, in order.
	allowed(topic string) list
	disallow(topic string) int
	// writer is logged in; it gives an offset, or an object with a code.
	writer(address, user, password string) func(topic, value string) any
}

// rights: a topic that has a list is closed to all who are not on it.
func rights(r *rig) any {
	lists, can := r.client.(lister)
	if !can {
		panic(unable{})
	}
	topic := r.topic(1, nil)
	write := lists.writer(r.options.sasl, "alice", "alice-secret")
	isRefused := func(found any) bool {
		_, refused := found.(object)
		return refused
	}
	before := write(topic, "x")
	codes := list{lists.allow("User:bob", "WRITE", topic), lists.allow("User:alice", "DESCRIBE", topic)}
	until(func() bool { return len(lists.allowed(topic)) == 2 })
	var denied, permitted any
	until(func() bool {
		denied = write(topic, "x")
		return isRefused(denied)
	})
	lists.allow("User:alice", "WRITE", topic)
	until(func() bool {
		permitted = write(topic, "x")
		return !isRefused(permitted)
	})
	listed := lists.allowed(topic)
	return object{"before": list{before}, "codes": codes, "denied": list{denied}, "allowed": list{permitted}, "listed": listed, "removed": lists.disallow(topic)}
}

// trusting in the broker's authority and in nobody else.
func (r *rig) trusting() *tls.Config {
	authorities := x509.NewCertPool()
	authorities.AppendCertsFromPEM(have(os.ReadFile(r.options.authority)))
	return &tls.Config{RootCAs: authorities, ServerName: "127.0.0.1"}
}

func tlsRoundtrip(r *rig) any {
	topic := r.topic(1, nil)
	client := r.connect(r.options.tls, r.trusting())
	placed := client.produce(topic, []record{{value: "a"}, {value: "b"}, {value: "c"}}, settings{})
	read := client.read(topic, 0, 0, 3)
	return object{"placed": placed, "read": values(read), "offsets": offsets(read)}
}

func tlsUnknownAuthority(r *rig) (answer any) {
	defer func() {
		broken := recover()
		err, _ := broken.(error)
		var unknown x509.UnknownAuthorityError
		switch {
		case errors.As(err, &unknown):
			answer = "refused"
		case broken != nil:
			panic(broken)
		}
	}()
	r.login(r.options.tls, "", "", "", &tls.Config{ServerName: "127.0.0.1"})
	return "connected"
}

func tlsLogins(r *rig) any {
	found := object{}
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		verdict := func(password string) int {
			return r.login(r.options.saslTLS, mechanism, "alice", password, r.trusting())
		}
		found[mechanism] = list{verdict("alice-secret"), verdict("guess")}
	}
	return found
}
