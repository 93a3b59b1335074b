//! Where every logged packet passes: who is on both sides, whether it repeats another, who is to be told.
//! Reads no log and writes no Event; it never waits.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant, SystemTime};

use super::queue::{Message, Queue};
use super::settings::EventSettings;
use super::source::Logged;
use crate::domain::drops::accounting::{Accounting, Fate};
use crate::domain::drops::kind::Kind;
use crate::domain::drops::message::{Side, message};
use crate::domain::drops::recent::Recent;
use crate::domain::drops::record::Record;
use crate::domain::drops::rule_text::{described, ends_in_drop};
use crate::domain::drops::rules::{Facts, RuleIndex, Via};
use crate::domain::drops::window::{Decision, Repeats, Window};
use crate::domain::packets::packet::{Action, Packet, Protocol};
use crate::domain::peers::pairs::{Name, Pair, Pairs};
use crate::domain::peers::pods::Pod;
use crate::domain::peers::{Directory, Peer, class};
use crate::host::net::reverse_dns::ReverseDns;
use crate::telemetry::drops::DropMetrics;

/// Kinds of drops that are told apart at a time, and those of a flood beyond.
const KINDS: usize = 8192;
const COARSE_KINDS: usize = 2048;
/// A new pod's packets may come before the API server has said whose address it is.
const PATIENCE: Duration = Duration::from_secs(2);
const PATIENT_FOR: usize = 1000;

/// A packet, where it was read, and a hold on that place.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The packet.
    pub logged: Logged,
    /// The counters of its source.
    pub accounting: Arc<Accounting>,
    /// While it lives the packet is not delivered, and the source's checkpoint stays before it.
    pub hold: Arc<()>,
}

/// Everything that packets are looked up in; others keep it up to date.
#[derive(Clone, Debug)]
pub struct Knowledge {
    /// Pods, nodes and Services.
    pub directory: Arc<RwLock<Directory>>,
    /// Whether somebody keeps the directory up to date, so that waiting for it makes sense.
    pub is_watched: bool,
    /// Names of other addresses.
    pub dns: Option<Arc<ReverseDns>>,
    /// The rules that log.
    pub rules: Arc<RwLock<RuleIndex>>,
    /// Whether somebody keeps the rules up to date. Else every packet that is logged counts as dropped, unless its prefix
    /// says otherwise.
    pub reads_rules: bool,
}

impl Knowledge {
    /// Who is on both sides of the packet.
    pub fn peers(&self, packet: &Packet<'_>, now: Instant, wall: SystemTime) -> (Peer, Peer) {
        let at = packet.at.unwrap_or(wall);
        let directory = self.directory();
        let find = |ip: Option<IpAddr>| {
            let Some(ip) = ip else { return Peer::Unknown };
            match (directory.find(ip, at), &self.dns) {
                (Peer::Unknown, Some(dns)) => dns.name(ip, now).map_or(Peer::Unknown, Peer::Host),
                (known, _) => known,
            }
        };
        (find(packet.header.src), find(packet.header.dst))
    }

    /// The record of a packet, with the names of both sides and the rule that logged it.
    pub fn record(&self, logged: &Logged, src: &Peer, dst: &Peer) -> Record {
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        let rule = described(&rules.find(&facts(logged)));
        Record { src_peer: src.record(), dst_peer: dst.record(), rule, ..Record::from(&logged.packet) }
    }

    /// Whether the packet is known to have been dropped: by its prefix, or by the rule that logged it.
    pub fn is_drop(&self, logged: &Logged) -> bool {
        match logged.packet.action {
            Action::Drop => true,
            Action::Accept => false,
            Action::Unknown if !self.reads_rules => true,
            Action::Unknown => {
                let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
                ends_in_drop(&rules.find(&facts(logged)))
            }
        }
    }

    fn directory(&self) -> RwLockReadGuard<'_, Directory> {
        self.directory.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was told of a kind, so that its repeats are more of the same.
#[derive(Clone, Debug, Default)]
struct Told {
    messages: Vec<PodMessage>,
    names: Pair,
}

/// What a pod's owner is told.
#[derive(Clone, Debug)]
struct PodMessage {
    pod: Arc<Pod>,
    text: Arc<str>,
    is_of_stranger: bool,
}

/// What is folded, and whom it is told.
#[derive(Debug)]
pub struct Folding {
    settings: EventSettings,
    knowledge: Knowledge,
    fine: Window<Kind, Told>,
    coarse: Window<Kind, Told>,
    waiting: VecDeque<(Instant, Arrival)>,
    /// None where nobody is told.
    queue: Option<Queue>,
    recent: Arc<Mutex<Recent>>,
    pairs: Pairs,
    metrics: DropMetrics,
}

impl Folding {
    /// Nothing has arrived yet.
    pub fn new(
        settings: EventSettings,
        knowledge: Knowledge,
        queue: Option<Queue>,
        recent: Arc<Mutex<Recent>>,
        metrics: DropMetrics,
    ) -> Self {
        let interval = settings.repeat_interval;
        let (fine, coarse) = (Window::new(interval, KINDS), Window::new(interval, COARSE_KINDS));
        let (waiting, pairs) = (VecDeque::new(), Pairs::default());
        Self { settings, knowledge, fine, coarse, waiting, queue, recent, pairs, metrics }
    }

    /// Takes a packet.
    pub fn arrive(&mut self, arrival: Arrival, now: Instant, wall: SystemTime) {
        let times = u64::from(arrival.logged.packet.repeated);
        let is_old = |at| wall.duration_since(at).is_ok_and(|age| age > self.settings.expiration);
        if arrival.logged.packet.at.is_some_and(is_old) {
            return arrival.accounting.add(Fate::Ignored, times);
        }
        let kind = Kind::of(&arrival.logged.packet);
        if self.is_early(&arrival.logged.packet, &kind, wall) {
            self.waiting.push_back((now + PATIENCE, arrival));
        } else {
            self.decide(arrival, kind, now, wall);
        }
    }

    /// Does what is due, and says when something will be.
    pub fn tick(&mut self, now: Instant, wall: SystemTime) -> Option<Instant> {
        while self.waiting.front().is_some_and(|(due, _)| *due <= now) {
            if let Some((_, arrival)) = self.waiting.pop_front() {
                let kind = Kind::of(&arrival.logged.packet);
                self.decide(arrival, kind, now, wall);
            }
        }
        while let Some((told, repeats)) = self.fine.pop_due(now).or_else(|| self.coarse.pop_due(now)) {
            self.tell_repeats(told, repeats);
        }
        let waiting = self.waiting.front().map(|(due, _)| *due);
        [waiting, self.fine.next_due(), self.coarse.next_due()].into_iter().flatten().min()
    }

    /// Tells what is still to be told, before the end.
    pub fn close(&mut self, now: Instant, wall: SystemTime) {
        for (_, arrival) in std::mem::take(&mut self.waiting) {
            let kind = Kind::of(&arrival.logged.packet);
            self.decide(arrival, kind, now, wall);
        }
        let rest: Vec<_> = self.fine.drain().chain(self.coarse.drain()).collect();
        rest.into_iter().for_each(|(told, repeats)| self.tell_repeats(told, repeats));
    }

    /// Whether the packet may be of a pod so new that nobody has heard of it.
    fn is_early(&self, packet: &Packet<'_>, kind: &Kind, wall: SystemTime) -> bool {
        let is_new = |at| wall.duration_since(at).is_ok_and(|age| age < PATIENCE);
        if !self.knowledge.is_watched || self.waiting.len() >= PATIENT_FOR || self.fine.contains(kind) {
            return false;
        }
        let directory = self.knowledge.directory();
        let at = packet.at.unwrap_or(wall);
        let is_stranger = |ip: IpAddr| class(ip) == "private" && directory.find(ip, at) == Peer::Unknown;
        is_new(at) && [packet.header.src, packet.header.dst].into_iter().flatten().any(is_stranger)
    }

    fn decide(&mut self, arrival: Arrival, kind: Kind, now: Instant, wall: SystemTime) {
        let Arrival { logged, accounting, hold } = arrival;
        let packet = &logged.packet;
        let (times, at) = (u64::from(packet.repeated), packet.at.unwrap_or(wall));
        let mut told_as = kind;
        let mut is_coarse = false;
        let mut decision = self.fine.push(&told_as, times, at, now);
        if decision == Decision::Full {
            let directory = self.knowledge.directory();
            told_as = told_as.coarse(|ip| directory.find(ip, at) != Peer::Unknown);
            drop(directory);
            is_coarse = true;
            decision = self.coarse.push(&told_as, times, at, now);
        }
        if !packet.is_complete {
            accounting.add_incomplete(times);
        }
        match decision {
            Decision::Folded => accounting.add(Fate::Folded, times),
            Decision::Full => accounting.add(Fate::Shed, times),
            Decision::Tell => {
                let told = self.tell(&logged, at, &hold, now, wall);
                let window = if is_coarse { &mut self.coarse } else { &mut self.fine };
                window.keep(&told_as, told);
                // one line told, and the repeats that its log daemon folded into it
                accounting.add(Fate::Reported, 1);
                accounting.add(Fate::Folded, times.saturating_sub(1));
            }
        }
    }

    fn tell(
        &mut self,
        logged: &Logged,
        at: SystemTime,
        hold: &Arc<()>,
        now: Instant,
        wall: SystemTime,
    ) -> Told {
        let packet = &logged.packet;
        let (src, dst) = self.knowledge.peers(packet, now, wall);
        let count = u64::from(packet.repeated);
        let told =
            Told { messages: self.messages(logged, &src, &dst), names: self.labels(packet, &src, &dst) };
        for message in &told.messages {
            self.push(message.clone(), Repeats { count, last: at }, Some(Arc::clone(hold)));
        }
        let record = self.knowledge.record(logged, &src, &dst);
        let (src, dst) = (&told.names.0, &told.names.1);
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).push(record, count, src, dst);
        self.metrics.told(src, dst);
        self.metrics.packets(src, dst, count);
        told
    }

    fn tell_repeats(&self, told: Told, repeats: Repeats) {
        let (src, dst) = told.names;
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).count(&src, &dst, repeats.count);
        self.metrics.packets(&src, &dst, repeats.count);
        for message in told.messages {
            self.push(message, repeats, None);
        }
    }

    /// What holds nothing was told before.
    fn push(&self, message: PodMessage, Repeats { count, last }: Repeats, hold: Option<Arc<()>>) {
        let Some(queue) = &self.queue else { return };
        let PodMessage { pod, text, is_of_stranger } = message;
        let is_repeat = hold.is_none();
        self.metrics.shed(queue.push(Message {
            pod,
            message: text,
            count,
            last,
            is_repeat,
            is_of_stranger,
            hold,
        }));
    }

    /// A message for each side that is a pod; packets that were let through harm nobody.
    fn messages(&self, logged: &Logged, src: &Peer, dst: &Peer) -> Vec<PodMessage> {
        let header = &logged.packet.header;
        if !self.knowledge.is_drop(logged) {
            return Vec::new();
        }
        let of = |side, own: &Peer, other: &Peer, ip: Option<IpAddr>| {
            let (pod, ip) = (own.pod()?, ip?);
            let name = other.name(ip, self.settings.identifier);
            let is_of_stranger = matches!(other, Peer::Host(_) | Peer::Unknown);
            let text = message(side, &name, ip, header).into();
            Some(PodMessage { pod: Arc::clone(pod), text, is_of_stranger })
        };
        let sender = of(Side::Sender, src, dst, header.dst);
        let receiver = of(Side::Receiver, dst, src, header.src);
        sender.into_iter().chain(receiver).collect()
    }

    fn labels(&mut self, packet: &Packet<'_>, src: &Peer, dst: &Peer) -> Pair {
        let label = |peer: &Peer, ip: Option<IpAddr>| match ip {
            Some(ip) => peer.label(ip, self.settings.identifier),
            None => Name { name: "none".to_owned(), stranger: None },
        };
        self.pairs.name(label(src, packet.header.src), label(dst, packet.header.dst))
    }
}

/// What is known of a packet, for the rule that logged it.
fn facts(logged: &Logged) -> Facts<'_> {
    let Logged { packet, group, hook } = logged;
    let header = &packet.header;
    // a log line names both devices, and the parser leaves out those that are empty
    let names_both = packet.is_complete && group.is_none();
    Facts {
        family: logged.family(),
        hook: *hook,
        in_dev: device(packet.in_dev.as_deref(), names_both),
        out_dev: device(packet.out_dev.as_deref(), names_both),
        source: header.src,
        destination: header.dst,
        protocol: header.protocol.and_then(Protocol::number),
        source_port: header.src_port,
        destination_port: header.dst_port,
        ..Facts::new(group.map_or(Via::Log, Via::Nflog), &packet.prefix)
    }
}

fn device(name: Option<&[u8]>, names_both: bool) -> Option<&[u8]> {
    name.or_else(|| names_both.then_some(b"".as_slice()))
}
