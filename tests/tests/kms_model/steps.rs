//! What is done next: drawn from a seed, out of what there is. A step that is drawn for one world
//! makes sense in any other, so that a sequence stays one when steps are taken out of it.

use std::net::IpAddr;

use stillkey_core::EncryptionContext;
use stillkey_core::SecretBytes;
use stillkey_core::kms::import::WrappingAlgorithm;
use stillkey_core::kms::key::{KeyState, Origin, ProtectionLevel};
use stillkey_core::kms::request::{
    CreateKey, DataKeyLength, Decrypt, Encrypt, GenerateDataKey, ImportKeyMaterial, Page,
    ReEncrypt, Tag,
};
use stillkey_core::kms::rotation::RotationInterval;
use stillkey_core::kms::{Caller, Face, Operation, Principal, Request, VersionUse};
use stillkey_tests::random::Seeded;

use crate::keeper;
use crate::oracle::{DAY, Key, Mood, Oracle, Token, time};
use crate::policies::{ACCOUNT, POOL, REGION};
use crate::world::World;

pub(crate) struct Step {
    pub(crate) clock: u64,
    /// Whether the clock may have leapt.
    pub(crate) doubtful: bool,
    /// Whether a tick comes first.
    pub(crate) ticks: bool,
    pub(crate) mood: Mood,
    pub(crate) what: What,
}

pub(crate) enum What {
    /// One request, or several of the same kind in a row.
    Ask(Vec<(Request, Caller)>),
    /// A new key, and the import of its material, until then.
    Imported(Caller, Option<u64>),
    /// A request to a state whose material can't be read.
    Damaged(Request, Caller),
    Tick,
    Policy(Principal, Option<usize>),
    Uses(Vec<VersionUse>),
    LongestWait(u32),
}

impl Step {
    /// What the test itself does, between steps.
    pub(crate) fn looking(clock: u64) -> Self {
        Self {
            clock,
            doubtful: false,
            ticks: false,
            mood: Mood {
                looking: true,
                ..Mood::default()
            },
            what: What::Tick,
        }
    }
}

/// Where the clock ends: nothing that is due reaches the last of all times.
const LAST_TIME: u64 = 200_000_000_000;

/// Keys beyond which few are made.
const MANY_KEYS: usize = 6;

/// Operations, and how often they come.
const WEIGHTS: [(u64, Operation); 31] = {
    use Operation as Op;
    [
        (14, Op::CreateKey),
        (2, Op::ListKeys),
        (4, Op::DescribeKey),
        (3, Op::UpdateKeyDescription),
        (4, Op::EnableKey),
        (7, Op::DisableKey),
        (6, Op::ScheduleKeyDeletion),
        (6, Op::CancelKeyDeletion),
        (4, Op::SetDeletionProtection),
        (10, Op::GetParametersForImport),
        (22, Op::ImportKeyMaterial),
        (3, Op::DeleteKeyMaterial),
        (8, Op::Encrypt),
        (12, Op::Decrypt),
        (7, Op::GenerateDataKey),
        (5, Op::GenerateDataKeyWithoutPlaintext),
        (8, Op::ReEncrypt),
        (1, Op::GenerateRandom),
        (7, Op::CreateAlias),
        (6, Op::UpdateAlias),
        (5, Op::DeleteAlias),
        (2, Op::ListAliases),
        (3, Op::ListAliasesByKeyId),
        (6, Op::TagResource),
        (4, Op::UntagResource),
        (2, Op::ListResourceTags),
        (3, Op::ListKeyVersions),
        (4, Op::DescribeKeyVersion),
        (6, Op::CreateKeyVersion),
        (7, Op::UpdateRotationPolicy),
        (1, Op::DescribeRegions),
    ]
};

struct Draw<'a> {
    random: &'a mut Seeded,
    oracle: &'a Oracle,
    now: u64,
    face: Face,
    principal: Principal,
}

pub(crate) fn draw(random: &mut Seeded, world: &World) -> Step {
    let oracle = &world.oracle;
    let clock = leap(random, world.clock, oracle.next_due());
    let doubtful = random.within(0..=11) == 0;
    let due = oracle
        .next_due()
        .is_some_and(|due| due <= clock.max(oracle.last_seen));
    let face = [Face::Alibaba, Face::Aws, Face::Tencent][random.index(0..=2)];
    let mut draw = Draw {
        now: clock.max(oracle.last_seen),
        principal: principal(random),
        random,
        oracle,
        face,
    };
    let ticks = due && draw.one_in(10) != due;
    let mood = Mood {
        failing: draw.one_in(14),
        idle: draw.one_in(30),
        ..Mood::default()
    };
    Step {
        clock,
        doubtful,
        ticks,
        mood,
        what: draw.what(),
    }
}

/// Mostly seconds, sometimes years, sometimes to the second at which something is due, and
/// sometimes back.
fn leap(random: &mut Seeded, clock: u64, due: Option<u64>) -> u64 {
    let later = |by: u64| (clock + by).min(LAST_TIME);
    match random.within(0..=99) {
        0..=59 => later(random.within(0..=3)),
        60..=79 => later(random.within(4..=4_000)),
        80..=83 => later(86_399 + random.within(0..=2)),
        84..=87 => later(random.within(DAY..=8 * DAY)),
        88..=89 => later(random.within(DAY..=100 * DAY)),
        90 if random.within(0..=3) == 0 => later(random.within(365 * DAY..=20 * 365 * DAY)),
        91..=93 => clock - random.within(0..=40 * DAY).min(clock),
        _ if random.within(0..=1) == 0 => clock,
        _ => due
            .map_or(clock, |due| due - 1 + random.within(0..=2))
            .clamp(clock, LAST_TIME),
    }
}

fn principal(random: &mut Seeded) -> Principal {
    match random.within(0..=99) {
        0..=71 => Principal::Root,
        72..=79 => Principal::User("ann".into()),
        80..=87 => Principal::User("bob".into()),
        88..=94 => Principal::Service("oss".into()),
        95..=97 => Principal::Service("ecs".into()),
        98 => Principal::Service("OSS".into()),
        _ => Principal::User("nobody".into()),
    }
}

/// Changes a context, so that it is another one.
pub(crate) fn spoil(random: &mut Seeded, pairs: &mut Vec<(String, String)>) {
    let Some((name, value)) = pairs.first_mut() else {
        return pairs.push(("a".into(), "b".into()));
    };
    match random.within(0..=4) {
        0 => pairs.clear(),
        1 => value.push('x'),
        // What the parts are when they stand one behind the other is the same.
        2 => match value.is_empty() {
            true => value.push('y'),
            false => name.push(value.remove(0)),
        },
        3 if name != value => std::mem::swap(name, value),
        _ => name.push('z'),
    }
    // Two pairs with one name would be a context of one.
    pairs.sort();
    pairs.dedup_by(|a, b| a.0 == b.0);
}

impl Draw<'_> {
    fn below(&mut self, end: usize) -> usize {
        self.random.index(0..=end - 1)
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.random.within(1..=many) == 1
    }

    fn of<'t, T: ?Sized>(&mut self, choices: &[&'t T]) -> &'t T {
        choices[self.below(choices.len())]
    }

    fn what(&mut self) -> What {
        let keys = self.oracle.books.keys.len();
        if keys < 2 && self.one_in(3) || keys < MANY_KEYS && self.one_in(40) {
            let expires = self
                .one_in(2)
                .then(|| self.now + self.random.within(1..=20 * DAY));
            return What::Imported(Caller::new(Principal::Root, self.face), expires);
        }
        match self.random.within(0..=119) {
            0..=3 => self.policy(),
            4 => self.uses(),
            5 if self.one_in(3) => What::LongestWait(*self.of(&[&6, &7, &10, &30, &366, &367])),
            6 => What::Tick,
            7 if self.one_in(4) => self.flood(),
            8 => self.damaged(),
            _ => {
                let operation = self.operation();
                let request = self.request(operation);
                What::Ask(vec![(request, self.caller())])
            }
        }
    }

    fn operation(&mut self) -> Operation {
        let mut left = self
            .random
            .within(0..=WEIGHTS.iter().map(|(weight, _)| weight).sum::<u64>() - 1);
        let mut chosen = Operation::DescribeRegions;
        for (weight, operation) in WEIGHTS {
            if left < weight {
                chosen = operation;
                break;
            }
            left -= weight;
        }
        let keys = self.oracle.books.keys.len();
        if keys < 2 && self.random.within(0..=1) == 0 {
            return Operation::CreateKey;
        }
        if chosen == Operation::CreateKey && keys >= MANY_KEYS && !self.one_in(6) {
            chosen = Operation::Decrypt;
        }
        // What there is nothing for would only be refused.
        let blobs = self.oracle.blobs.is_empty();
        let aliases = self.oracle.books.aliases.is_empty();
        match chosen {
            Operation::Decrypt | Operation::ReEncrypt if blobs && !self.one_in(9) => {
                Operation::GenerateDataKey
            }
            Operation::UpdateAlias | Operation::DeleteAlias if aliases && !self.one_in(9) => {
                Operation::CreateAlias
            }
            chosen => chosen,
        }
    }

    fn caller(&mut self) -> Caller {
        let mut caller = Caller::new(self.principal.clone(), self.face);
        let addresses: [Option<IpAddr>; 5] = [
            None,
            Some(IpAddr::from([10, 1, 2, 3])),
            Some(IpAddr::from([10, 9, 2, 3])),
            Some(IpAddr::from([192, 0, 2, 1])),
            Some(IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1])),
        ];
        caller.source = addresses[self.below(5)];
        caller
    }

    fn policy(&mut self) -> What {
        let principals = [
            Principal::User("ann".into()),
            Principal::User("bob".into()),
            Principal::Service("oss".into()),
            Principal::Service("ecs".into()),
            Principal::Root,
        ];
        let principal = self.of(&principals.each_ref()).clone();
        let number = match self.one_in(8) {
            true => None,
            false => Some(self.below(POOL.len())),
        };
        What::Policy(principal, number)
    }

    fn uses(&mut self) -> What {
        let mut uses = Vec::new();
        for _ in 0..self.random.index(1..=3) {
            let Some(key) = self.key(|_| true) else { break };
            let (key, versions) = (key.id, key.versions.len());
            let version = match versions {
                0 => key,
                len => {
                    let at = self.below(len);
                    let found = self.oracle.books.keys.iter().find(|other| other.id == key);
                    found.map_or(key, |key| key.versions[at].id)
                }
            };
            uses.push(VersionUse {
                key,
                version,
                day: self.now / DAY + self.random.within(0..=3),
                count: self.random.within(1..=5),
            });
        }
        What::Uses(uses)
    }

    /// More tokens than a key has room for.
    fn flood(&mut self) -> What {
        let Some(key) = self.key(|key| key.external) else {
            return What::Tick;
        };
        let key = key.id.to_string();
        let ask = |_| {
            let request = Request::GetParametersForImport {
                key: key.clone(),
                algorithm: WrappingAlgorithm::OaepSha256,
            };
            (request, Caller::new(Principal::Root, Face::Alibaba))
        };
        What::Ask((0..17).map(ask).collect())
    }

    fn damaged(&mut self) -> What {
        use Operation as Op;
        let choices = [
            &Op::Encrypt,
            &Op::Decrypt,
            &Op::GenerateDataKey,
            &Op::GenerateDataKeyWithoutPlaintext,
            &Op::ReEncrypt,
        ];
        let operation = *self.of(&choices);
        let request = self.request(operation);
        What::Damaged(request, self.caller())
    }

    /// A key, and most probably one that fits.
    fn key(&mut self, fits: impl Fn(&Key) -> bool) -> Option<&'_ Key> {
        let keys = &self.oracle.books.keys;
        let fitting: Vec<&Key> = keys.iter().filter(|key| fits(key)).collect();
        // Few get as far as this.
        let rare = |key: &&Key| {
            let idle = matches!(key.state, KeyState::Disabled | KeyState::PendingDeletion);
            idle || key.service.is_some()
        };
        let rare: Vec<&Key> = keys.iter().filter(rare).collect();
        let from = match self.random.within(0..=9) {
            0..=1 if !rare.is_empty() => rare,
            0..=7 if !fitting.is_empty() => fitting,
            _ => keys.iter().collect(),
        };
        let at = self.random.number().checked_rem(from.len() as u64)?;
        from.get(at as usize).copied()
    }

    /// A text that names a key, or nearly.
    fn name_of(&mut self, operation: Operation) -> String {
        use KeyState::{Disabled, Enabled, PendingDeletion, PendingImport};
        use Operation as Op;
        let now = self.now;
        let fits = move |key: &Key| match operation {
            Op::GetParametersForImport => key.external,
            Op::ImportKeyMaterial => {
                key.external && key.tokens.iter().any(|token| token.expires >= now)
            }
            Op::DeleteKeyMaterial => key.external && key.material,
            Op::CreateKeyVersion | Op::UpdateRotationPolicy => {
                !key.external && key.service.is_none() && key.state == Enabled
            }
            Op::EnableKey => key.state == Disabled,
            Op::DisableKey => key.state == Enabled && key.external,
            Op::CancelKeyDeletion => key.state == PendingDeletion,
            Op::ScheduleKeyDeletion => key.state != PendingDeletion && key.service.is_none(),
            Op::Encrypt | Op::GenerateDataKey | Op::GenerateDataKeyWithoutPlaintext => {
                key.state == Enabled
            }
            Op::ReEncrypt => key.state == Enabled || key.state == PendingImport,
            _ => true,
        };
        let is_service = matches!(self.principal, Principal::Service(_));
        let encrypts = matches!(
            operation,
            Op::Encrypt | Op::GenerateDataKey | Op::GenerateDataKeyWithoutPlaintext
        );
        if is_service && encrypts && self.random.within(0..=2) == 0 {
            let name = *self.of(&[&"alias/acs/oss", &"alias/acs/ecs", &"alias/acs/OSS"]);
            return match self.one_in(4) {
                true => self.arn(name),
                false => name.into(),
            };
        }
        let takes_alias = encrypts || operation == Op::DescribeKey || operation == Op::ReEncrypt;
        let aliases = if takes_alias { 80..=93 } else { 90..=93 };
        match self.random.within(0..=99) {
            at if aliases.contains(&at) => self.alias_as_key(),
            0..=93 => match self.key(fits) {
                Some(key) => {
                    let id = key.id.to_string();
                    self.form(&id)
                }
                None => "1234abcd-12ab-34cd-56ef-1234567890ab".into(),
            },
            94..=95 => match self.oracle.books.gone.last() {
                Some((id, _)) => id.to_string(),
                None => self.alias_as_key(),
            },
            _ => {
                let wrong = [
                    "",
                    "example",
                    "1234abcd-12ab-34cd-56ef-1234567890ab",
                    "1234abcd12ab34cd56ef1234567890ab",
                    "acs:kms:cn-hangzhou:1416614965936597:key",
                    "acs:kms:cn-hangzhou:1416614965936597:key/",
                    "acs:kms:cn-hangzhou:1416614965936597:example",
                    "acs:kms:cn-hangzhou:7:alias/a",
                    "acs:kms:cn-beijing:1416614965936597:alias/a",
                    "acs:kms:cn-hangzhou:1416614965936597:alias/nobody",
                    "arn:aws:kms:cn-hangzhou:1416614965936597:alias/a",
                    "arn:aws:kms:cn-hangzhou:1416614965936597:alias/nobody",
                    "Alias/a",
                ];
                wrong[self.below(wrong.len())].into()
            }
        }
    }

    fn arn(&mut self, resource: &str) -> String {
        let prefix = match self.random.within(0..=4) {
            0 => "arn:aws",
            1 => "arn:aws-cn",
            _ => "acs",
        };
        format!("{prefix}:kms:{REGION}:{ACCOUNT}:{resource}")
    }

    /// A key's id as it may be written.
    fn form(&mut self, id: &str) -> String {
        match self.random.within(0..=19) {
            0..=14 => id.into(),
            15 => id.to_uppercase(),
            _ => self.arn(&format!("key/{id}")),
        }
    }

    fn alias_as_key(&mut self) -> String {
        let aliases = &self.oracle.books.aliases;
        let at = self.random.number().checked_rem(aliases.len() as u64);
        let name = match at {
            Some(at) if !self.one_in(8) => aliases[at as usize].0.clone(),
            _ => "alias/nobody".into(),
        };
        match self.one_in(4) {
            true => self.arn(&name),
            false => name,
        }
    }

    fn new_alias(&mut self) -> String {
        let good = [
            "alias/a",
            "alias/b",
            "alias/team/x",
            "alias/team/y",
            "alias/Z_9-",
            "alias/acsx",
        ];
        let odd = [
            "alias/aws/s3",
            "alias/acs",
            "alias/acs/oss",
            "alias/acs/my",
            "alias/",
            "alias/\u{fc}",
            "alias/a b",
            "ALIAS/a",
            "example",
            "",
            "acs:kms:cn-hangzhou:1416614965936597:alias/a",
        ];
        match self.random.within(0..=19) {
            0..=14 => good[self.below(good.len())].into(),
            15..=17 => odd[self.below(odd.len())].into(),
            18 => format!("alias/{}", "n".repeat(255)),
            _ => format!("alias/{}", "n".repeat(*self.of(&[&250, &251, &256]))),
        }
    }

    /// One that there is, most probably.
    fn alias(&mut self) -> String {
        let aliases = &self.oracle.books.aliases;
        let at = self.random.number().checked_rem(aliases.len() as u64);
        match at {
            Some(at) if !self.one_in(5) => aliases[at as usize].0.clone(),
            _ => self.new_alias(),
        }
    }

    fn context(&mut self) -> EncryptionContext {
        let pool: [&[(&str, &str)]; 9] = [
            &[],
            &[],
            &[("tenant", "7")],
            &[("Key2", "Value2"), ("Key1", "Value1")],
            &[("a", "bc")],
            &[("ab", "c")],
            &[("a", "b"), ("b", "a")],
            &[("", "")],
            &[("\"quoted\"\n", "\u{1f511}\u{1}")],
        ];
        if self.one_in(40) {
            // 8,192 characters of JSON are `{"a":"…"}` around 8,184.
            let len = 8183 + self.below(3);
            let plain = self.one_in(2);
            let value = match plain {
                true => "\u{e9}".repeat(len),
                // Two characters each, and one more.
                false => "\n".repeat(len / 2) + &"x".repeat(len % 2),
            };
            return [("a".to_string(), value)].into_iter().collect();
        }
        pool[self.below(pool.len())].iter().copied().collect()
    }

    fn description(&mut self) -> String {
        match self.random.within(0..=79) {
            0 => "\u{e9}".repeat(8192),
            1 => "\u{e9}".repeat(8193),
            2..=30 => String::new(),
            _ => self
                .of(&["mine", "yours", "the one of \u{4e2d}\u{6587}"])
                .into(),
        }
    }

    fn tags(&mut self, most: usize) -> Vec<Tag> {
        let keys = [
            "Project",
            "secret",
            "env",
            "cost:centre",
            "a/b\\c",
            "x=+@-_.",
        ];
        let values = [
            "apollo", "Apollo", "Gemini", "yes", "no", "prod", "test", "",
        ];
        let mut tags: Vec<Tag> = Vec::new();
        for _ in 0..self.below(most + 1) {
            let key = *self.of(&keys.each_ref());
            if !tags.iter().any(|tag| tag.key == key) {
                tags.push(Tag {
                    key: key.into(),
                    value: (*self.of(&values.each_ref())).into(),
                });
            }
        }
        if self.one_in(25) {
            let long = "l".repeat(128);
            let longer = "l".repeat(129);
            let odd = [
                ("aliyun-x", "1"),
                ("aliyun", "1"),
                ("acs:x", "1"),
                ("acsx", "1"),
                ("", "1"),
                ("a b", "1"),
                ("k", "v w"),
                ("\u{fc}", "1"),
                ("Project", "twice"),
                (&long, &long),
                (&longer, "1"),
                ("k", &longer),
            ];
            let (key, value) = odd[self.below(odd.len())];
            tags.push(Tag {
                key: key.into(),
                value: value.into(),
            });
        }
        if self.one_in(25) {
            // 20 fit, where there are no others.
            let many = 18 + self.below(4);
            tags = (0..many)
                .map(|at| Tag {
                    key: format!("t{at}"),
                    value: "many".into(),
                })
                .collect();
        }
        tags
    }

    fn interval(&mut self) -> Option<RotationInterval> {
        let days = [7, 7, 7, 8, 89, 90, 91, 365, 366, 730, 731, 2560];
        let chosen = days[self.below(days.len())];
        // A week, and 90 days, on all faces and none, to the second.
        let exact = chosen * DAY;
        match self.random.within(0..=9) {
            0..=1 => None,
            2 => RotationInterval::from_seconds(exact + 1),
            3 => RotationInterval::from_seconds(exact - 1),
            _ => RotationInterval::from_seconds(exact),
        }
    }

    fn page(&mut self) -> Page {
        match self.random.within(0..=9) {
            0..=3 => Page::default(),
            4 => Page::new(u32::MAX, 100).unwrap(),
            _ => {
                let (number, size) = (self.random.within(1..=4), self.random.within(1..=4));
                Page::new(number as u32, size as u32).unwrap()
            }
        }
    }

    fn length(&mut self) -> DataKeyLength {
        match self.random.within(0..=9) {
            0..=3 => DataKeyLength::AES_256,
            4..=6 => DataKeyLength::AES_128,
            7 => DataKeyLength::new(1).unwrap(),
            8 if self.one_in(5) => DataKeyLength::new(1024).unwrap(),
            _ => DataKeyLength::new(self.random.within(1..=64) as u16).unwrap(),
        }
    }

    fn plaintext(&mut self) -> SecretBytes {
        let len = match self.random.within(0..=49) {
            0 => *self.of(&[&4096, &4097, &6144, &6145]),
            1..=4 => 0,
            _ => self.random.index(1..=40),
        };
        SecretBytes::new(self.random.bytes(len))
    }

    /// A blob with its context; either may be spoilt.
    fn opening(&mut self, operation: Operation) -> Decrypt {
        let blobs = &self.oracle.blobs;
        let Some(at) = self.random.number().checked_rem(blobs.len() as u64) else {
            return Decrypt {
                blob: self.random.bytes(*[0, 87, 88, 120].last().unwrap()),
                context: self.context(),
                key: None,
            };
        };
        let made = &blobs[at as usize];
        let mut pairs = made.context.clone();
        let mut blob = made.blob.clone();
        if self.one_in(8) {
            spoil(self.random, &mut pairs);
        }
        if self.one_in(7) {
            self.tamper(&mut blob);
        }
        let key = match self.random.within(0..=9) {
            0..=1 => Some(self.name_of(operation)),
            2..=3 => {
                let id = made.blob[8..24].try_into().unwrap();
                let id = stillkey_core::kms::id::Id::from_bytes(id).to_string();
                Some(self.form(&id))
            }
            _ => None,
        };
        let context = match self.one_in(50) {
            true => self.context(),
            false => pairs
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect(),
        };
        Decrypt { blob, context, key }
    }

    fn tamper(&mut self, blob: &mut Vec<u8>) {
        let bit = 1 << self.below(8);
        let last = blob.len() - 1;
        match self.random.within(0..=13) {
            0 => {
                let at = self.below(5);
                blob[at] ^= bit;
            }
            1 => {
                blob[5] = 3;
                blob[40..56].fill(0);
            }
            2 => {
                let at = 6 + self.below(2);
                blob[at] ^= bit;
            }
            3 => blob[8 + bit.trailing_zeros() as usize] ^= bit,
            4 => blob[24 + bit.trailing_zeros() as usize] ^= bit,
            5 => blob[40 + bit.trailing_zeros() as usize] ^= bit,
            6 => blob[56 + bit.trailing_zeros() as usize] ^= bit,
            7 => blob[last] ^= bit,
            8 => {
                let at = 72 + self.below(last - 71);
                blob[at] ^= bit;
            }
            9 => blob.truncate(self.below(last + 1)),
            10 => blob.push(0),
            11 => blob[5] = *self.of(&[&0, &4, &0xff]),
            // As if it were of another key, or of another version.
            with => {
                let Some(other) = self.key(|key| !key.versions.is_empty()) else {
                    return blob.clear();
                };
                let (key, version) = (other.id, other.versions.first().map(|one| one.id));
                if with == 12 {
                    blob[8..24].copy_from_slice(key.as_bytes());
                }
                if let Some(version) = version {
                    blob[8..24].copy_from_slice(key.as_bytes());
                    blob[24..40].copy_from_slice(version.as_bytes());
                }
            }
        }
    }

    /// Material of a key, wrapped for a token of it, or something that isn't quite that.
    fn import(&mut self) -> ImportKeyMaterial {
        let name = self.name_of(Operation::ImportKeyMaterial);
        let keys = &self.oracle.books.keys;
        let named = keys
            .iter()
            .position(|key| name.contains(&key.id.to_string()));
        let fresh = |token: &&Token| token.expires >= self.now;
        let tokens: Vec<&Token> = named.map_or(Vec::new(), |at| keys[at].tokens.iter().collect());
        let good: Vec<&Token> = tokens.iter().copied().filter(fresh).collect();
        let all: Vec<&Token> = keys.iter().flat_map(|key| &key.tokens).collect();
        let from = match self.random.within(0..=9) {
            0..=6 if !good.is_empty() => good,
            0..=8 if !tokens.is_empty() => tokens,
            _ => all,
        };
        let token = self.random.number().checked_rem(from.len() as u64);
        let token = token.map(|at| from[at as usize]);
        let public_key = token.map_or(vec![7; 8], |token| token.public_key.clone());
        let mut bytes = token.map_or(vec![7; 48], |token| token.bytes.clone());
        if self.one_in(12) {
            match self.below(4) {
                0 => bytes.clear(),
                1 => bytes.truncate(47),
                2 => bytes.push(0),
                _ => {
                    let at = self.below(bytes.len());
                    bytes[at] ^= 1;
                }
            }
        }
        let first = named.and_then(|at| keys[at].first.clone());
        let material = match (first, self.random.within(0..=9)) {
            (Some(first), 0..=6) => first,
            (_, 7) => vec![0x61; *self.of(&[&0, &16, &31, &33])],
            (_, 8) => vec![0x62; 32],
            _ => vec![0x61; 32],
        };
        let wrapped = match self.random.within(0..=15) {
            0 => keeper::wrap(&[9; 8], &material),
            1 => Vec::new(),
            2 => {
                let mut wrapped = keeper::wrap(&public_key, &material);
                let at = self.below(wrapped.len());
                wrapped[at] ^= 1;
                wrapped
            }
            _ => keeper::wrap(&public_key, &material),
        };
        let expires = match self.random.within(0..=29) {
            0 => Some(self.now),
            1 => Some(self.now - self.random.within(0..=DAY)),
            2 => Some(self.now + 1),
            3..=13 => Some(self.now + self.random.within(1..=20 * DAY)),
            _ => None,
        };
        ImportKeyMaterial {
            key: name,
            wrapped,
            token: bytes,
            expires: expires.map(time),
        }
    }

    fn version_of(&mut self, key: &str) -> String {
        let keys = &self.oracle.books.keys;
        let named = keys
            .iter()
            .find(|other| key.contains(&other.id.to_string()));
        let versions = named.map_or(&[][..], |key| &key.versions);
        let at = self.random.number().checked_rem(versions.len() as u64);
        match at {
            Some(at) if !self.one_in(5) => {
                let id = versions[at as usize].id.to_string();
                if self.one_in(6) {
                    id.to_uppercase()
                } else {
                    id
                }
            }
            _ => (*self.of(&[&"1", &"", &"1234abcd-12ab-34cd-56ef-1234567890ab"])).into(),
        }
    }

    fn request(&mut self, operation: Operation) -> Request {
        use Operation as Op;
        match operation {
            Op::CreateKey => {
                let external = self.random.within(0..=9) < 4;
                let rotation = match self.random.within(0..=9) {
                    0..=2 => self.interval(),
                    _ => None,
                };
                Request::CreateKey(CreateKey {
                    description: self.description(),
                    origin: if external {
                        Origin::External
                    } else {
                        Origin::Generated
                    },
                    protection: match self.one_in(15) {
                        true => ProtectionLevel::Hsm,
                        false => ProtectionLevel::Software,
                    },
                    rotation: rotation.filter(|_| !external || self.one_in(8)),
                    tags: self.tags(2),
                })
            }
            Op::ListKeys => Request::ListKeys(self.page()),
            Op::DescribeKey => Request::DescribeKey {
                key: self.name_of(operation),
            },
            Op::UpdateKeyDescription => Request::UpdateKeyDescription {
                key: self.name_of(operation),
                description: self.description(),
            },
            Op::EnableKey => Request::EnableKey {
                key: self.name_of(operation),
            },
            Op::DisableKey => Request::DisableKey {
                key: self.name_of(operation),
            },
            Op::ScheduleKeyDeletion => Request::ScheduleKeyDeletion {
                key: self.name_of(operation),
                days: match self.one_in(6) {
                    true => *self.of(&[&0, &6, &10, &11, &30, &31, &366, &367]),
                    false => self.random.within(7..=10) as u32,
                },
            },
            Op::CancelKeyDeletion => Request::CancelKeyDeletion {
                key: self.name_of(operation),
            },
            Op::SetDeletionProtection => Request::SetDeletionProtection {
                key: self.name_of(operation),
                enabled: self.random.within(0..=2) == 0,
                description: self.description(),
            },
            Op::GetParametersForImport => Request::GetParametersForImport {
                key: self.name_of(operation),
                algorithm: WrappingAlgorithm::ALL[self.below(3)],
            },
            Op::ImportKeyMaterial => Request::ImportKeyMaterial(self.import()),
            Op::DeleteKeyMaterial => Request::DeleteKeyMaterial {
                key: self.name_of(operation),
            },
            Op::Encrypt => Request::Encrypt(Encrypt {
                key: self.name_of(operation),
                plaintext: self.plaintext(),
                context: self.context(),
            }),
            Op::Decrypt => Request::Decrypt(self.opening(operation)),
            Op::GenerateDataKey => Request::GenerateDataKey(self.data_key(operation)),
            Op::GenerateDataKeyWithoutPlaintext => {
                Request::GenerateDataKeyWithoutPlaintext(self.data_key(operation))
            }
            Op::ReEncrypt => Request::ReEncrypt(ReEncrypt {
                source: self.opening(operation),
                destination_key: self.name_of(operation),
                destination_context: self.context(),
            }),
            Op::GenerateRandom => Request::GenerateRandom(self.length()),
            Op::CreateAlias => Request::CreateAlias {
                alias: self.new_alias(),
                key: self.name_of(operation),
            },
            Op::UpdateAlias => Request::UpdateAlias {
                alias: self.alias(),
                key: self.name_of(operation),
            },
            Op::DeleteAlias => Request::DeleteAlias {
                alias: self.alias(),
            },
            Op::ListAliases => Request::ListAliases(self.page()),
            Op::ListAliasesByKeyId => Request::ListAliasesByKeyId {
                key: self.name_of(operation),
                page: self.page(),
            },
            Op::TagResource => {
                let mut tags = self.tags(3);
                if tags.is_empty() {
                    tags.push(Tag {
                        key: "Project".into(),
                        value: "Apollo".into(),
                    });
                }
                Request::TagResource {
                    key: self.name_of(operation),
                    tags,
                }
            }
            Op::UntagResource => {
                let names = ["Project", "secret", "env", "t1", "t2", "nothing"];
                let name = |draw: &mut Self| names[draw.below(names.len())].to_string();
                Request::UntagResource {
                    key: self.name_of(operation),
                    names: vec![name(self), name(self)],
                }
            }
            Op::ListResourceTags => Request::ListResourceTags {
                key: self.name_of(operation),
            },
            Op::ListKeyVersions => Request::ListKeyVersions {
                key: self.name_of(operation),
                page: self.page(),
            },
            Op::DescribeKeyVersion => {
                let key = self.name_of(operation);
                Request::DescribeKeyVersion {
                    version: self.version_of(&key),
                    key,
                }
            }
            Op::CreateKeyVersion => Request::CreateKeyVersion {
                key: self.name_of(operation),
            },
            Op::UpdateRotationPolicy => Request::UpdateRotationPolicy {
                key: self.name_of(operation),
                interval: self.interval(),
            },
            Op::DescribeRegions => Request::DescribeRegions,
        }
    }

    fn data_key(&mut self, operation: Operation) -> GenerateDataKey {
        GenerateDataKey {
            key: self.name_of(operation),
            length: self.length(),
            context: self.context(),
        }
    }
}
