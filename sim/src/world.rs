//! One run: clients, a node on its logs, crashes between any two steps, and the end at which everything is counted.
//!
//! Each step, the scheduler picks one of all the things that could happen next. Which kinds of thing it likes is drawn once per
//! run, so that in some runs a shard starves, in others a log. Time goes on by some microseconds a step, and by a leap when
//! nothing but time can go on.

use crate::client::Client;
use crate::desk::{Desk, Phase};
use crate::history::Event;
use crate::keeper::Keeper;
use crate::log::SimLog;
use crate::log::engine::EngineLog;
use crate::log::model::{Habits, ModelLog};
use crate::mutant::Mutant;
use crate::node::{Ability, Node, Plan};
use crate::oracle::SESSION_MS;
use crate::rng::Rng;
use crate::streamer::Streamer;
use crate::taker::Taker;
use stele_model::id::{HubId, Now};

/// How large the buffers between the parts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buffers {
    /// One message each.
    One,
    /// Some dozens.
    Normal,
    /// By seed.
    Mixed,
}

/// What kind of run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Sizes of buffers.
    pub buffers: Buffers,
    /// A mistake to make.
    pub mutant: Option<Mutant>,
    /// Steps until clients come to an end.
    pub steps: u64,
    /// Print the trace.
    pub verbose: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { buffers: Buffers::Mixed, mutant: None, steps: 12_000, verbose: false }
    }
}

/// How a run went.
#[derive(Clone, Debug)]
pub struct Report {
    /// The run's seed.
    pub seed: u64,
    /// Steps taken.
    pub steps: u64,
    /// Restarts.
    pub restarts: u64,
    /// Broken rules, each with what was wrong.
    pub failures: Vec<(&'static str, String)>,
    /// The last lines of the trace.
    pub trace: Vec<String>,
    /// Hash of all that clients and the node did: equal in two runs of a seed.
    pub hash: u64,
}

/// Hubs of a node.
const HUBS: u16 = 2;
/// Shards of a node.
const SHARDS: u16 = 2;
/// Steps in which the clients' ends, or the emptying of all queues, must be done.
const STEPS_TO_END: u64 = 400_000;
/// Virtual time that passes before queues are emptied, ms: longer than any time to live in the topology.
const REST_MS: u64 = 50;
/// Clients that neither did nor heard anything for so long wait in vain, ms: what repeats itself goes on for ever, and helps nobody.
const SILENCE_MS: u64 = 30_000;
const _: () = assert!(SILENCE_MS > 2 * SESSION_MS as u64, "those that are left hear of the end of a session");

/// Runs a seed.
#[must_use]
pub fn run(seed: u64, options: &Options) -> Report {
    let mut world = World::new(seed, options);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.run()));
    let violations = world.desk.oracle.violations().iter();
    let mut failures: Vec<_> =
        violations.map(|wrong| (wrong.rule, format!("step {}: {}", wrong.step, wrong.what))).collect();
    if let Err(panic) = result {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        failures.push(("panic", format!("step {}: {}", world.desk.step, text.unwrap_or_default())));
    }
    Report {
        seed,
        steps: world.desk.step,
        restarts: world.restarts,
        failures,
        trace: world.desk.trace().map(str::to_owned).collect(),
        hash: world.desk.hash(),
    }
}

/// See the file's head.
struct World {
    rng: Rng,
    desk: Desk,
    plan: Plan,
    clients: Vec<Client>,
    /// The last is the closer.
    streamers: Vec<Streamer>,
    /// The last is the closer.
    takers: Vec<Taker>,
    keeper: Keeper,
    logs: Vec<SimLog>,
    node: Option<Node>,
    likes: Likes,
    steps: u64,
    crash_one_in: u64,
    restarts: u64,
    /// When a client last did or heard something.
    heard: Now,
}

/// How often each kind of thing happens when it could.
struct Likes {
    act: u64,
    hear: u64,
    node: Vec<u64>,
}

/// Something that could happen next.
#[derive(Clone, Copy, Debug)]
enum Choice {
    Act(usize),
    Hear(usize),
    Node(Ability),
}

impl World {
    fn new(seed: u64, options: &Options) -> Self {
        let root = Rng::new(seed);
        let mut rng = root.fork(1);
        let clients = rng.between(2, 6);
        let streamers = *rng.pick(&[0, 2, 3, 4]);
        let takers = *rng.pick(&[0, 2, 3]);
        let room = |rng: &mut Rng| match options.buffers {
            Buffers::One => 1,
            Buffers::Normal => 64,
            Buffers::Mixed => *rng.pick(&[1, 1, 2, 64]),
        };
        let plan = Plan {
            hubs: HUBS,
            shards: SHARDS,
            // Two closers and the keeper are there too.
            clients: (clients + streamers + takers) as usize + 3,
            room_clients: room(&mut rng),
            room_inside: room(&mut rng),
            memory_bytes_max: *rng.pick(&[0, 8 << 10, 256 << 20]),
            snapshot_bytes: *rng.pick(&[2_000, 20_000, 1 << 40]),
            snapshot_items: *root.fork(5).pick(&[1, 3, 1024]),
            mutant: options.mutant,
            rng: root.fork(2),
        };
        let habits = Habits {
            in_flight_max: *rng.pick(&[1, 2, 8]),
            unknown_one_in: *rng.pick(&[0, 0, 400]),
            full_one_in: *rng.pick(&[0, 0, 60]),
            promote_one_in: *rng.pick(&[0, 4, 20]),
            lies: options.mutant == Some(Mutant::SyncLies),
        };
        let engine = options.mutant != Some(Mutant::SyncLies) && rng.chance(1, 2);
        let fail_one_in = *rng.pick(&[0, 0, 400]);
        let log = |number: u16, rng: Rng| match engine {
            true => SimLog::Engine(EngineLog::new(number, fail_one_in, rng)),
            false => SimLog::Model(ModelLog::new(habits, rng)),
        };
        let mut desk = Desk::new(options.verbose);
        desk.note(|| format!("seed {seed}: engine {engine}, {habits:?}, {plan:?}"));
        let actions = options.steps / 30;
        let client = |n: u64| {
            let hub = HubId((n % u64::from(HUBS)) as u16);
            Client::new(hub, actions as u32, root.fork(100 + n))
        };
        let streamer = |n: u64| {
            let hub = HubId(((clients + n) % u64::from(HUBS)) as u16);
            let rng = root.fork(200 + n);
            if n == streamers { Streamer::closer(hub, rng) } else { Streamer::new(hub, actions as u32, rng) }
        };
        let taker = |n: u64| {
            let hub = HubId(((clients + streamers + 1 + n) % u64::from(HUBS)) as u16);
            let rng = root.fork(300 + n);
            if n == takers { Taker::closer(hub, rng) } else { Taker::new(hub, actions as u32, rng) }
        };
        Self {
            streamers: (0..=streamers).map(streamer).collect(),
            takers: (0..=takers).map(taker).collect(),
            clients: (0..clients).map(client).collect(),
            logs: (0..=SHARDS).map(|n| log(n, root.fork(10 + u64::from(n)))).collect(),
            likes: Likes::draw(&mut rng),
            crash_one_in: *rng.pick(&[300, 1_500, 6_000]),
            rng,
            desk,
            plan,
            keeper: Keeper::default(),
            node: None,
            steps: options.steps,
            restarts: 0,
            heard: Now::default(),
        }
    }

    fn run(&mut self) {
        self.start();
        self.until("define", STEPS_TO_END, |world| world.keeper.has_defined());
        self.desk.phase = Phase::Run;
        let end = self.desk.step + self.steps;
        self.until("run", self.steps + 1, |world| world.desk.step >= end || world.is_quiet());
        self.desk.phase = Phase::Finish;
        self.logs.iter().for_each(SimLog::behave);
        self.until("finish", STEPS_TO_END, |world| {
            world.clients.iter().all(Client::is_over)
                && world.streamers.iter().all(Streamer::is_over)
                && world.takers.iter().all(Taker::is_over)
        });
        self.rest();
        self.desk.oracle.begin_close();
        self.desk.phase = Phase::Close;
        self.until("empty all queues", STEPS_TO_END, |world| {
            world.keeper.has_emptied()
                && world.streamers.iter().all(|of| !of.is_closer() || of.has_looked())
                && world.takers.iter().all(Taker::has_looked)
        });
        if self.failed() {
            return;
        }
        self.desk.oracle.close(self.desk.step);
        // What was taken out must stay out.
        self.stop(true);
        self.keeper.look_again();
        self.until("look again", STEPS_TO_END, |world| world.keeper.has_emptied());
    }

    fn failed(&self) -> bool {
        !self.desk.oracle.violations().is_empty()
    }

    /// Steps until `done`; more than `steps_max` of them, or none that is possible, is a failure.
    fn until(&mut self, what: &str, steps_max: u64, done: impl Fn(&Self) -> bool) {
        let last = self.desk.step + steps_max;
        self.heard = self.desk.now;
        while !done(self) {
            if self.failed() {
                return;
            }
            if self.desk.step >= last {
                return self.stuck(&format!("could not {what} in {steps_max} steps"));
            }
            if !self.step() && (self.is_silent() || !self.leap()) {
                if done(self) {
                    return;
                }
                return self.stuck(&format!("could not {what}: nothing can go on"));
            }
            self.perhaps_crash();
        }
    }

    fn stuck(&mut self, what: &str) {
        let mut lines = vec![what.to_owned(), self.keeper.awaits()];
        lines.extend(self.clients.iter().filter(|client| !client.is_over()).map(Client::awaits));
        lines.extend(self.streamers.iter().map(Streamer::awaits));
        lines.extend(self.takers.iter().map(Taker::awaits));
        lines.extend(self.node.as_ref().map(Node::describe));
        let step = self.desk.step;
        self.desk.oracle.violate("W11", step, lines.join("\n    "));
    }

    /// Nobody has anything to do any more.
    fn is_quiet(&self) -> bool {
        let clients = self.clients.iter().all(|client| !client.can_act());
        let streamers = self.streamers.iter().all(|streamer| !streamer.can_act(&self.desk));
        let takers = self.takers.iter().all(|taker| !taker.can_act(self.desk.phase));
        clients && streamers && takers && self.choices().is_empty() && self.is_silent()
    }

    /// Time alone brings clients nothing more.
    fn is_silent(&self) -> bool {
        self.deadline().is_none() || self.desk.now > self.heard.plus_ms(SILENCE_MS)
    }

    /// One thing happens; `false`: nothing can.
    fn step(&mut self) -> bool {
        let choices = self.choices();
        if choices.is_empty() {
            return false;
        }
        let weights: Vec<_> = choices.iter().map(|choice| self.likes.of(choice)).collect();
        let choice = choices[self.rng.weighted(&weights)];
        self.desk.step += 1;
        self.desk.now.0 += self.rng.between(1, 30);
        self.carry_out(choice);
        true
    }

    fn choices(&self) -> Vec<Choice> {
        let Some(node) = &self.node else { return Vec::new() };
        let mut choices = Vec::new();
        for (n, client) in self.clients.iter().enumerate() {
            let can = match self.desk.phase {
                Phase::Run => client.can_act(),
                Phase::Finish => client.can_finish(),
                Phase::SetUp | Phase::Close => false,
            };
            if can && node.client_may_speak(n) {
                choices.push(Choice::Act(n));
            }
        }
        let first = self.clients.len();
        for (n, streamer) in self.streamers.iter().enumerate() {
            if streamer.can_act(&self.desk) && node.client_may_speak(first + n) {
                choices.push(Choice::Act(first + n));
            }
        }
        let first = first + self.streamers.len();
        for (n, taker) in self.takers.iter().enumerate() {
            if taker.can_act(self.desk.phase) && node.client_may_speak(first + n) {
                choices.push(Choice::Act(first + n));
            }
        }
        let keeper = first + self.takers.len();
        if self.keeper.can_act(self.desk.phase) && node.client_may_speak(keeper) {
            choices.push(Choice::Act(keeper));
        }
        choices.extend((0..=keeper).filter(|n| node.client_may_hear(*n)).map(Choice::Hear));
        choices.extend(node.abilities(self.desk.now).into_iter().map(Choice::Node));
        choices
    }

    fn carry_out(&mut self, choice: Choice) {
        let Some(node) = &mut self.node else { return };
        let desk = &mut self.desk;
        let (clients, streamers) = (self.clients.len(), self.streamers.len());
        if !matches!(choice, Choice::Node(_)) {
            self.heard = desk.now;
        }
        match choice {
            Choice::Act(n) => {
                let said = if let Some(client) = self.clients.get_mut(n) {
                    client.act(desk)
                } else if let Some(streamer) = self.streamers.get_mut(n - clients) {
                    streamer.act(desk)
                } else if let Some(taker) = self.takers.get_mut(n - clients - streamers) {
                    taker.act(desk)
                } else {
                    self.keeper.act(desk)
                };
                node.client_says(n, said);
            }
            Choice::Hear(n) => {
                let Some(heard) = node.client_hears(n) else { return };
                let said = if let Some(client) = self.clients.get_mut(n) {
                    client.hear(desk, heard)
                } else if let Some(streamer) = self.streamers.get_mut(n - clients) {
                    streamer.hear(desk, heard)
                } else if let Some(taker) = self.takers.get_mut(n - clients - streamers) {
                    taker.hear(desk, heard)
                } else {
                    self.keeper.hear(desk, heard);
                    Vec::new()
                };
                node.client_says(n, said);
            }
            Choice::Node(ability) => node.step(ability, desk),
        }
    }

    fn deadline(&self) -> Option<Now> {
        self.node.as_ref().and_then(Node::deadline)
    }

    /// Time goes on to the next moment at which something is due.
    fn leap(&mut self) -> bool {
        let Some(due) = self.deadline() else { return false };
        self.desk.step += 1;
        self.desk.now = self.desk.now.max(due);
        true
    }

    fn perhaps_crash(&mut self) {
        let broken = self.node.as_ref().and_then(Node::broken);
        if let Some(why) = broken {
            self.desk.note(|| format!("a log has failed: {why}"));
            return self.stop(false);
        }
        let one_in = match self.desk.phase {
            // The definitions must be done some time.
            Phase::SetUp => 10 * self.crash_one_in,
            Phase::Run => self.crash_one_in,
            Phase::Finish | Phase::Close => return,
        };
        if self.rng.chance(1, one_in) {
            let orderly = self.rng.chance(1, 4);
            self.stop(orderly);
        }
    }

    /// The process ends, in order or not, and starts again.
    fn stop(&mut self, orderly: bool) {
        let orderly = orderly && self.run_dry();
        self.desk.event(&Event::Stopped { orderly });
        self.node = None;
        self.logs.iter().for_each(SimLog::crash);
        self.clients.iter_mut().for_each(Client::cut_off);
        self.streamers.iter_mut().for_each(Streamer::cut_off);
        self.takers.iter_mut().for_each(Taker::cut_off);
        self.keeper.cut_off();
        self.desk.addresses.clear();
        self.restarts += 1;
        self.start();
    }

    /// Everything the node has been told is carried out and written; clients neither speak nor hear. `false`: a log has failed.
    fn run_dry(&mut self) -> bool {
        for _ in 0..STEPS_TO_END {
            let Some(node) = &mut self.node else { return false };
            if node.broken().is_some() {
                return false;
            }
            node.flush();
            let abilities = node.abilities(self.desk.now);
            if abilities.is_empty() {
                if node.is_settled() {
                    return true;
                }
                if !self.leap() {
                    self.stuck("could not write everything for an orderly end");
                    return false;
                }
                continue;
            }
            self.desk.step += 1;
            self.desk.now.0 += self.rng.between(1, 30);
            node.step(*self.rng.pick(&abilities), &mut self.desk);
        }
        self.stuck("could not come to an orderly end");
        false
    }

    fn start(&mut self) {
        match Node::start(&self.plan, &self.logs, self.restarts, &mut self.desk) {
            Ok(node) => self.node = Some(node),
            Err(why) => {
                let step = self.desk.step;
                self.desk.oracle.violate("W12", step, format!("the node does not start: {why}"));
            }
        }
    }

    /// Time passes, and whatever is due by itself happens.
    fn rest(&mut self) {
        let until = self.desk.now.plus_ms(REST_MS);
        self.until("rest", STEPS_TO_END, |world| {
            world.desk.now >= until && world.choices().is_empty()
                || world.choices().is_empty() && world.deadline().is_none()
        });
    }
}

impl Likes {
    fn draw(rng: &mut Rng) -> Self {
        let mut one = || *rng.pick(&[1, 3, 10, 30]);
        Self { act: one(), hear: one(), node: (0..Ability::KINDS).map(|_| one()).collect() }
    }

    fn of(&self, choice: &Choice) -> u64 {
        match choice {
            Choice::Act(_) => self.act,
            Choice::Hear(_) => self.hear,
            Choice::Node(ability) => self.node[ability.kind()],
        }
    }
}
