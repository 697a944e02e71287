//! More connections than `limits.connections_max` and than `namespaces.NAME.connections_max` allow: the first is told by a closed socket,
//! the second in words.

use anyhow::{Result, ensure};

use super::{Stage, crowd, lives, served_again};

const CONNECTIONS_MAX: usize = 20;
const NAMESPACE_CONNECTIONS_MAX: usize = 5;
const TOO_MANY: usize = 60;

pub(super) async fn run(stage: Stage) -> Result<String> {
    let node = limited(&stage, &format!("limits.connections_max={CONNECTIONS_MAX}"), CONNECTIONS_MAX).await?;
    let setting = format!("namespaces./.connections_max={NAMESPACE_CONNECTIONS_MAX}");
    let namespace = limited(&stage, &setting, NAMESPACE_CONNECTIONS_MAX).await?;
    Ok(format!("of {TOO_MANY} connections the node served {node}, the namespace {namespace}"))
}

/// Open too many; how many were served.
async fn limited(stage: &Stage, setting: &str, connections_max: usize) -> Result<usize> {
    let mut broker = stage.start(stage.program.clone(), &[setting])?;
    for _ in 0..2 {
        let crowd = crowd(&broker, TOO_MANY).await?;
        let served = crowd.served.len();
        ensure!(served == connections_max, "{setting}: {served} connections were served");
        ensure!(crowd.waiting == 0, "{setting}: {} connections got no answer", crowd.waiting);
        drop(crowd);
        drop(served_again(&mut broker).await?);
        all_gone(&broker, connections_max).await?;
    }
    lives(&mut broker)?;
    Ok(connections_max)
}

/// Wait until the broker has noticed that all connections are closed.
async fn all_gone(broker: &stele_testkit::broker::Broker, connections_max: usize) -> Result<()> {
    let attempts = async {
        loop {
            let crowd = crowd(broker, connections_max).await?;
            if crowd.served.len() == connections_max {
                return Ok::<_, anyhow::Error>(());
            }
        }
    };
    tokio::time::timeout(crate::wire::PATIENCE, attempts).await?
}
