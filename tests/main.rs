//! Tests against real servers and real clients. `support` starts what they share.
//!
//! The modules are marked `cfg(test)` because clippy permits `unwrap` and `panic` in helpers only below that mark.

#[cfg(test)]
mod support;

#[cfg(test)]
mod answers;
#[cfg(test)]
mod behaviour;
#[cfg(test)]
mod bench;
#[cfg(test)]
mod cache;
#[cfg(test)]
mod changes;
#[cfg(test)]
mod clients;
#[cfg(test)]
mod command;
#[cfg(test)]
mod commit;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod differential;
#[cfg(test)]
mod joins;
#[cfg(test)]
mod matrix;
#[cfg(test)]
mod plans;
#[cfg(test)]
mod restart;
#[cfg(test)]
mod sandbox;
#[cfg(test)]
mod values;
#[cfg(test)]
mod wire;
