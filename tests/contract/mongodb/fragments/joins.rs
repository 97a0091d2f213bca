//! Joins by look-ups: keys of every type, missing, null, and inside arrays.

use mongodb::IndexModel;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, Decimal128, Document, doc};
use tributary::pgtype::PgType;
use tributary::stores::Relation;
use tributary::stores::fragment::{Expression, JoinKind, Node};
use tributary::stores::predicate::Comparison;

use super::super::World;
use super::{Cell, Room, assert_same, compare, filter, literal};

fn keys() -> Vec<Bson> {
    let decimal = |text: &str| Bson::Decimal128(text.parse::<Decimal128>().unwrap());
    vec![
        1_i32.into(),
        1_i64.into(),
        1.0.into(),
        decimal("1.0"),
        2_i64.into(),
        2.5.into(),
        Bson::Null,
        "1".into(),
        Bson::Array(vec![1.into(), 2.into()]),
        Bson::MaxKey,
        9_i64.into(),
    ]
}

async fn room() -> Room {
    let options = "on_mismatch = \"null\"\nsample = 0\n[collections.l.columns]\n_id = \"bigint\"\nk = \"bigint\"\no = \"text\"\n\
                   [collections.r.columns]\n_id = \"objectId\"\nk = \"bigint\"\nv = \"bigint\"\nm = \"mixed\"\n";
    let world = World::new(options).await;
    let with_key = |key: &Bson, number: i64| {
        if *key == Bson::Undefined {
            doc! { "v": number }
        } else {
            doc! { "k": key, "v": number }
        }
    };
    let all: Vec<Bson> = keys().into_iter().chain([Bson::Undefined]).collect();
    let left = all.iter().zip(0_i64..).map(|(key, number)| {
        let mut document = with_key(key, number);
        document.remove("v");
        document.insert("_id", number);
        document.insert("o", if number % 2 == 0 { ObjectId::from_bytes([1; 12]).to_hex() } else { "x".to_owned() });
        document
    });
    world.fill("l", left.collect()).await;
    let right = all.iter().zip(0_i64..).map(|(key, number)| {
        let mut document = with_key(key, number);
        document.insert("_id", ObjectId::from_bytes([u8::try_from(number).unwrap(); 12]));
        document
    });
    world.fill("r", right.collect()).await;
    world.database.collection::<Document>("r").create_index(IndexModel::builder().keys(doc! { "k": 1 }).build()).await.unwrap();
    Room::new(world, &["l", "r"]).await
}

fn join(room: &Room, kind: JoinKind, condition: Expression) -> Relation {
    Relation::Join { left: Box::new(room.all("l")), right: Box::new(room.all("r")), kind, condition: Some(condition) }
}

async fn table(room: &Room, name: &str) -> Vec<Vec<Cell>> {
    let types: Vec<PgType> = room.table(name).columns.iter().map(|column| column.pg_type()).collect();
    super::cells(&room.read(name).await, &types)
}

/// Whether a pair of rows fulfils a condition.
type Holds<'a> = dyn Fn(&[Cell], &[Cell]) -> bool + 'a;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joins_agree_with_local_ones() {
    let room = room().await;
    let (left, right) = (table(&room, "l").await, table(&room, "r").await);
    let width = room.table("l").columns.len();
    let place = |name: &str| super::super::ordinal(room.table("l"), name);
    let other = |name: &str| super::super::ordinal(room.table("r"), name);
    let column = |name: &str| room.column("l", name);
    let moved = |name: &str| Expression::column(width + other(name), room.column("r", name).pg_type);
    let equal = compare(Comparison::Equal, column("k"), moved("k"));
    let below = compare(Comparison::Less, column("_id"), moved("v"));
    let both = Expression::condition(Node::And(vec![equal.clone(), below]));
    let by_id = compare(Comparison::Equal, moved("_id"), column("o"));
    let conditions: [(Expression, Box<Holds<'_>>); 3] = [
        (equal, Box::new(|l: &[Cell], r: &[Cell]| !l[place("k")].is_null() && l[place("k")].order(&r[other("k")]).is_eq())),
        (
            both,
            Box::new(|l: &[Cell], r: &[Cell]| {
                !l[place("k")].is_null()
                    && l[place("k")].order(&r[other("k")]).is_eq()
                    && l[place("_id")].order(&r[other("v")]).is_lt()
            }),
        ),
        (by_id, Box::new(|l: &[Cell], r: &[Cell]| l[place("o")].order(&r[other("_id")]).is_eq())),
    ];
    for (condition, holds) in &conditions {
        for kind in [JoinKind::Inner, JoinKind::Left, JoinKind::Semi, JoinKind::Anti] {
            let mut expected: Vec<Vec<Cell>> = Vec::new();
            for row in &left {
                let pairs: Vec<Vec<Cell>> =
                    right.iter().filter(|other| holds(row, other)).map(|other| [row.clone(), other.clone()].concat()).collect();
                match kind {
                    JoinKind::Semi if !pairs.is_empty() => expected.push(row.clone()),
                    JoinKind::Anti if pairs.is_empty() => expected.push(row.clone()),
                    JoinKind::Semi | JoinKind::Anti => {}
                    JoinKind::Left if pairs.is_empty() => {
                        expected.push([row.clone(), vec![Cell::Null; right[0].len()]].concat());
                    }
                    _ => expected.extend(pairs),
                }
            }
            let relation = join(&room, kind, condition.clone());
            assert_same(room.rows(&relation).await, expected, &format!("{kind:?} {condition}\n{}", room.described(&relation)));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joins_without_an_index_are_refused() {
    let room = room().await;
    let width = room.table("l").columns.len();
    let moved =
        |name: &str| Expression::column(width + super::super::ordinal(room.table("r"), name), room.column("r", name).pg_type);
    let by = |condition| room.accepts(&join(&room, JoinKind::Inner, condition));
    assert!(by(compare(Comparison::Equal, room.column("l", "k"), moved("v"))).is_err());
    assert!(by(compare(Comparison::Less, room.column("l", "k"), moved("k"))).is_err());
    assert!(by(compare(Comparison::Equal, room.column("l", "o"), moved("m"))).is_err());
    assert!(room.accepts(&join(&room, JoinKind::Full, compare(Comparison::Equal, room.column("l", "k"), moved("k")))).is_err());
    // The server would compute of the left row what PostgreSQL computes of pairs.
    let one = literal(PgType::INT8, Some(tributary::stores::value::Value::Int(1)));
    let next = Node::Call { function: tributary::stores::fragment::Function::Add, arguments: vec![room.column("l", "_id"), one] };
    let below = compare(Comparison::Less, Expression::new(PgType::INT8, next), moved("v"));
    let equal = compare(Comparison::Equal, room.column("l", "k"), moved("k"));
    assert!(by(Expression::condition(Node::And(vec![equal, below]))).is_err());
    // A condition on the looked up side stays inside the look-up.
    let value = literal(PgType::INT8, Some(tributary::stores::value::Value::Int(3)));
    let some = filter(room.all("r"), compare(Comparison::Less, room.column("r", "v"), value));
    let condition = Some(compare(Comparison::Equal, room.column("l", "k"), moved("k")));
    let relation = Relation::Join { left: Box::new(room.all("l")), right: Box::new(some), kind: JoinKind::Inner, condition };
    // Four keys are 1, and three of the looked up ones come before the third.
    assert_eq!(room.rows(&relation).await.len(), 12);
}
