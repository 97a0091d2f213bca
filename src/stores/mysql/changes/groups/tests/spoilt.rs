//! Events that were spoilt on their way, by chance that is the same each time: what a machine makes of them hangs together, and no rows are
//! passed over without a word.

use super::*;

/// As in the tests of `rows.rs`; the bytes were written by a MariaDB 10.11.
const V: [(&str, &str); 6] =
    [("id", "int(11)"), ("a", "int(11)"), ("b", "blob"), ("vg", "int(11)"), ("sg", "int(11)"), ("vb", "int(11)")];
const V_MAP: &str = "1d0000000000 0100 01 64 00 01 76 00 06 0303fc030303 01 02 3e 01 01 00 02 01 3f \
    04 10 026964 0161 0162 027667 027367 027662 08 01 00";
const V_INSERTED: &str = "1d0000000000 0100 06 3f c0 01000000 05000000 0200 7878 0a000000 0f000000 02000000";
const V_UPDATED: &str = "1d0000000000 0100 06 3f 3f c0 01000000 06000000 0300 797979 0c000000 12000000 03000000 \
    c0 02000000 06000000 0300 797979 0c000000 12000000 03000000";
const V_DELETED: &str = "1d0000000000 0100 06 3f c0 02000000 06000000 0300 797979 0c000000 12000000 03000000";

/// A table of values that are made anew: a decimal, a span, a moment, a text and a label.
const W: [(&str, &str); 6] = [
    ("id", "int(11)"),
    ("d", "decimal(20,6)"),
    ("t", "time(2)"),
    ("s", "timestamp(6)"),
    ("c", "varchar(20)"),
    ("e", "enum('x','y')"),
];
const W_MAP: &str = "1f0000000000 0100 01 64 00 01 77 00 06 03f613110ffe 08 1406 02 06 1400 f701 3e 01 01 00 02 01 08 \
    04 0d 026964 0164 0174 0173 0163 0165 06 05 02 0178 0179 0a 01 08";
const W_INSERTED: &str = "1f0000000000 0100 06 3f c0 01000000 7fffffffed2978fffffe 4b91059d 65937d25000006 02 6869 02";

/// Numbers without an order, the same ones each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}

fn machine_of_three() -> Machine {
    let mut tables = Tables::new(POLICY, Charsets::samples(), true);
    let followed = [followed("d", "z", &COLUMNS), followed("d", "v", &V), followed("d", "w", &W)];
    assert!(tables.replace(&followed).is_empty());
    let about = About { store: StoreName::new("s"), identity: "mariadb-1".into(), history: 7 };
    Machine::new(about, tables, begun("0-1-9", "0-1-9"))
}

fn rows(kind: u8, body: &str) -> Event {
    event(kind, hex(body))
}

fn map_of(body: &str) -> Event {
    event(kind::TABLE_MAP, hex(body))
}

/// What a server writes: rows of all sorts, what is prepared and decided, statements, and what stands between.
fn recorded() -> [Vec<Event>; 4] {
    let plain = vec![
        gtid(10, PLAIN),
        map(),
        inserted([1, 2]),
        xid(),
        gtid(11, PLAIN),
        map_of(V_MAP),
        rows(23, V_INSERTED),
        rows(24, V_UPDATED),
        rows(25, V_DELETED),
        map_of(W_MAP),
        rows(23, W_INSERTED),
        xid(),
    ];
    let prepared = vec![
        gtid(10, PREPARED),
        map(),
        inserted([1]),
        query("XA END X'78',X'',1"),
        prepare_x(),
        gtid(11, DECIDED),
        query("XA COMMIT X'78',X'',1"),
    ];
    let compressed = "0a00000000000000 01 0000 1a00 0000000001010000205400000000060373746404210021000800 6400\
                      810a789c2b292acd4b4e2c4955280100172803fb";
    let statements = vec![
        gtid(10, ALONE),
        query("truncate z"),
        gtid(11, ALONE),
        event(kind::QUERY_COMPRESSED, hex(compressed)),
        gtid(12, PLAIN),
        query("SAVEPOINT `a`"),
        map(),
        inserted([1]),
        query("ROLLBACK TO `a`"),
        xid(),
        gtid(13, PLAIN),
        query("update z set at = now()"),
        xid(),
    ];
    let file = event(kind::ROTATE, [4_u64.to_le_bytes().as_slice(), b"binlog.000002".as_slice()].concat());
    let between = vec![
        file,
        event(kind::FORMAT, vec![4; 60]),
        event(kind::HEARTBEAT, b"binlog.000002".to_vec()),
        gtid(10, PLAIN),
        map(),
        event(172, vec![1; 30]),
        xid(),
        gtid(11, PLAIN),
        map(),
        inserted([7]),
        query("ROLLBACK"),
    ];
    [plain, prepared, statements, between]
}

/// Does something to one of them.
fn spoil(events: &mut Vec<Event>, chance: &mut Chance) {
    let place = chance.below(events.len());
    match chance.below(7) {
        0 => {
            let _lost = events.remove(place);
        }
        1 => {
            let other = chance.below(events.len());
            events.swap(place, other);
        }
        2 => events[place].kind = u8::try_from(chance.below(256)).unwrap(),
        3 => {
            let length = chance.below(events[place].body.len() + 1);
            events[place].body.truncate(length);
        }
        _ => {
            let body = &mut events[place].body;
            for _ in 0..body.len().min(1 + chance.below(3)) {
                let bit = chance.below(body.len() * 8);
                body[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }
}

/// All that there is to give.
fn given(machine: &mut Machine) -> Vec<Step> {
    let mut steps = Vec::new();
    while let Some(step) = machine.pause().unwrap() {
        steps.push(step);
    }
    steps.extend(std::iter::from_fn(|| machine.ready()));
    steps
}

/// Whether each row that is told is there, and each place can be gone on from.
fn hangs_together(step: &Step) {
    match step {
        Step::Group(group) => {
            for rows in &group.rows {
                assert_eq!(rows.new.num_rows(), rows.operations.len());
            }
            for entry in group.transactions.iter().flat_map(|transaction| &transaction.entries) {
                if let Entry::Row { rows, row } = entry {
                    assert!((*row as usize) < group.rows[*rows as usize].operations.len());
                }
            }
            assert!(Checkpoint::decode(&group.resume).is_ok());
        }
        Step::Idle { resume, .. } => assert!(Checkpoint::decode(resume).is_ok()),
        Step::Doubt(tables) => assert!(!tables.is_empty()),
    }
}

/// How many things a machine tells of rows and tables.
fn told(steps: &[Step]) -> usize {
    let of = |step: &Step| match step {
        Step::Group(group) => group.transactions.iter().map(|transaction| transaction.entries.len()).sum(),
        Step::Idle { .. } | Step::Doubt(_) => 0,
    };
    steps.iter().map(of).sum()
}

#[test]
fn what_was_recorded_is_understood_whole() {
    for (events, expected) in recorded().into_iter().zip([6, 1, 5, 1]) {
        let mut machine = machine_of_three();
        feed(&mut machine, events);
        let steps = given(&mut machine);
        steps.iter().for_each(hangs_together);
        assert!(told(&steps) == expected, "{steps:?}");
    }
}

#[test]
fn what_is_spoilt_ends_the_feed_or_hangs_together() {
    let (mut chance, mut ends) = (Chance(11), 0);
    for _ in 0..300 {
        for mut events in recorded() {
            for _ in 0..=chance.below(2) {
                spoil(&mut events, &mut chance);
            }
            let mut machine = machine_of_three();
            for event in events {
                if let Err(ended) = machine.event(event) {
                    // That rows do not fit together would be ours.
                    assert!(machine.malformed().is_some() || !matches!(ended, Ended::Again(_)), "{ended:?}");
                    ends += 1;
                    break;
                }
                if chance.below(4) == 0 {
                    given(&mut machine).iter().for_each(hangs_together);
                }
            }
            if machine.malformed().is_none() {
                given(&mut machine).iter().for_each(hangs_together);
            }
        }
    }
    assert!(ends > 100, "{ends}");
}

#[test]
fn no_bit_of_rows_turns_over_without_a_row_or_a_word() {
    let sorts = [
        (map(), inserted([1])),
        (map_of(V_MAP), rows(23, V_INSERTED)),
        (map_of(V_MAP), rows(24, V_UPDATED)),
        (map_of(V_MAP), rows(25, V_DELETED)),
        (map_of(W_MAP), rows(23, W_INSERTED)),
    ];
    for (map, written) in sorts {
        for bit in 0..written.body.len() * 8 {
            let mut turned = written.clone();
            turned.body[bit / 8] ^= 1 << (bit % 8);
            let mut machine = machine_of_three();
            feed(&mut machine, [gtid(10, PLAIN), map.clone()]);
            if machine.event(turned).is_err() {
                assert!(machine.malformed().is_some());
                continue;
            }
            feed(&mut machine, [xid()]);
            let steps = given(&mut machine);
            steps.iter().for_each(hangs_together);
            assert!(told(&steps) > 0, "bit {bit} of {:?}", written.body);
        }
    }
}
