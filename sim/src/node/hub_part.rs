//! A hub with what its IO thread does around it: the newest snapshot before anything is handed in, and the carrying of what it
//! writes, completions before deliveries.

use super::{Joints, Node, Plan, short};
use crate::client::{Heard, Said};
use crate::desk::Desk;
use std::sync::Arc;
use stele_hub::Snapshot;
use stele_hub::hub::{Hub, HubMessage, HubOut};
use stele_model::flow::Party;
use stele_model::id::{HubId, PrincipalId, ShardId};
use stele_model::registry::RegistryEffect;
use stele_model::session::Principal;
use stele_model::shard::ToHub;

pub(super) type ToPeer = HubMessage;

/// See the file's head.
pub(super) struct HubPart {
    hub: Hub,
}

impl HubPart {
    pub(super) fn new(id: HubId, plan: &Plan, boot: u64, snapshot: Arc<Snapshot>) -> Self {
        Self { hub: Hub::new(id, plan.hubs, plan.shards, [boot, 7], snapshot) }
    }
}

impl Node {
    pub(super) fn hub_hears_client(&mut self, client: usize, said: Said, desk: &mut Desk) {
        let now = desk.now;
        match said {
            Said::Connect(session) => {
                self.sessions.insert(session, client);
                let party = Party {
                    principal: "guest".to_owned(),
                    client: format!("client {client}"),
                    dialect: "none",
                };
                let principal = Principal { id: PrincipalId(1), name: "guest".to_owned() };
                self.with_hub(session.hub, |hub, _| hub.attach(session, principal, party));
            }
            Said::Submit(session, submit) => {
                desk.note(|| format!("hub {} takes {}", session.hub, short(&submit)));
                self.with_hub(session.hub, |hub, out| hub.submit(now, session, submit, out));
            }
            Said::Disconnect(session) => {
                self.with_hub(session.hub, |hub, out| hub.detach(session, out));
            }
        }
    }

    pub(super) fn hub_hears_shard(&mut self, hub: usize, shard: usize, told: ToHub, desk: &mut Desk) {
        let now = desk.now;
        self.with_hub(HubId(hub as u16), |hub, out| {
            hub.from_shard(now, ShardId(shard as u16), told, out);
        });
    }

    pub(super) fn hub_hears_registry(&mut self, hub: usize, told: RegistryEffect, desk: &mut Desk) {
        let RegistryEffect::Answer { call, answer, .. } = told else { return };
        let now = desk.now;
        self.with_hub(HubId(hub as u16), |hub, out| hub.from_registry(now, call, answer, out));
    }

    pub(super) fn hub_hears_hub(&mut self, hub: usize, told: ToPeer, desk: &mut Desk) {
        let now = desk.now;
        self.with_hub(HubId(hub as u16), |hub, out| hub.from_hub(now, told, out));
    }

    /// Does something with a hub that has the newest snapshot, and carries what it wrote.
    fn with_hub(&mut self, id: HubId, act: impl FnOnce(&mut Hub, &mut HubOut)) {
        let hub = &mut self.hubs[usize::from(id.0)].hub;
        hub.replace_snapshot(self.snapshot.clone());
        let mut out = HubOut::default();
        act(hub, &mut out);
        self.carry_from_hub(id, out);
    }

    fn carry_from_hub(&mut self, id: HubId, out: HubOut) {
        let hub = usize::from(id.0);
        let Joints { hub_shard, hub_registry, hub_hub, hub_client, .. } = &mut self.joints;
        for (shard, op) in out.shards {
            hub_shard[hub][usize::from(shard.0)].send(op);
        }
        out.registry.into_iter().for_each(|op| hub_registry[hub].send(op));
        for (peer, message) in out.hubs {
            hub_hub[hub][usize::from(peer.0)].send(message);
        }
        for (peer, number) in out.passed {
            hub_hub[hub][usize::from(peer.0)].send(HubMessage::Passed { number });
        }
        let completions = out.completions.into_iter();
        let heard = completions.map(|(to, ticket, outcome)| (to, Heard::Outcome(to, ticket, outcome)));
        let deliveries = out.deliveries.into_iter();
        let heard = heard.chain(deliveries.map(|(to, deliveries)| (to, Heard::Deliver(to, deliveries))));
        let heard = heard.chain(out.wakes.into_iter().map(|(to, wake)| (to, Heard::Wake(to, wake))));
        for (session, heard) in heard {
            if let Some(client) = self.sessions.get(&session) {
                hub_client[*client].send(heard);
            }
        }
    }
}
