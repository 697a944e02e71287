//! More connections than `limits.connections_max` and than `namespaces.NAME.connections_max` allow: the first is told by a closed socket,
//! the second in words.

use anyhow::{Result, ensure};

use super::{Stage, crowd, lives, served_again};
use crate::wire::PATIENCE;

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
        let full = full_house(&broker, setting, connections_max);
        tokio::time::timeout(2 * PATIENCE, full).await??;
        drop(served_again(&mut broker).await?);
    }
    lives(&mut broker)?;
    Ok(connections_max)
}

/// Too many come, until as many as may be are served: who was there before is noticed to be gone a little later. Never more.
async fn full_house(
    broker: &stele_testkit::broker::Broker,
    setting: &str,
    connections_max: usize,
) -> Result<()> {
    loop {
        let crowd = crowd(broker, TOO_MANY, PATIENCE).await?;
        let served = crowd.served.len();
        ensure!(served <= connections_max, "{setting}: {served} connections were served");
        ensure!(crowd.waiting == 0, "{setting}: {} connections got no answer", crowd.waiting);
        if served == connections_max {
            return Ok(());
        }
    }
}
