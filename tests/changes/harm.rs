//! What happens to Tributary, to servers and to the ways to them in a random history.

use tributary::write::failpoint::Point;

/// Something that happens once.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// Tributary is killed at a step on the way of a change to its log.
    Kill(&'static str),
    /// It gets a signal at any moment.
    End(&'static str),
    /// Something happens to a store or to the way to it.
    Hurt(&'static str, Harm),
    /// A table of a store gets another shape.
    Alter(&'static str),
}

/// What happens to a server or to the way to it.
#[derive(Debug, Clone, Copy)]
pub enum Harm {
    Kill,
    Cut,
    Freeze,
    Slow,
    Tear,
}

impl Harm {
    const ALL: [Self; 5] = [Self::Kill, Self::Cut, Self::Freeze, Self::Slow, Self::Tear];
}

/// Whatever is to happen in a history over these stores. A file has no server and no way to it.
pub fn faults(stores: impl Iterator<Item = &'static str>) -> Vec<Fault> {
    let mut faults: Vec<Fault> = Point::CHANGES.into_iter().map(|(_, name)| Fault::Kill(name)).collect();
    faults.extend([Fault::End("-KILL"), Fault::End("-KILL"), Fault::End("-TERM")]);
    for store in stores {
        faults.push(Fault::Alter(store));
        if store != "east" {
            faults.extend(Harm::ALL.map(|harm| Fault::Hurt(store, harm)));
        }
    }
    faults
}
