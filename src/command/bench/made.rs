//! Rows of the TPC-H generator as blocks of text, made on a thread of their own while the blocks before are loaded.
//!
//! A row is a line of fields separated by `|`, as the generator of the specification writes them. Its texts hold neither `|` nor
//! tabs, quotes, backslashes or line ends. **Invariant:** at most [`BLOCKS_MAX`] blocks wait, so that memory stays bounded at any
//! scale.

use std::fmt::{Display, Write as _};
use std::iter::Peekable;

use tokio::sync::mpsc;
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator, RegionGenerator,
    SupplierGenerator,
};

use super::table::Table;
use crate::task::OwnedTask;

/// A block is handed on when it has so many bytes.
const BLOCK_BYTES: usize = 256 << 10;
/// Blocks that may wait for the loader; then the generator waits.
const BLOCKS_MAX: usize = 8;

/// Some rows, one to a line.
#[derive(Debug, Default)]
pub(super) struct Block {
    pub(super) text: String,
    pub(super) rows: u64,
}

/// All rows of a table, block by block.
#[derive(Debug)]
pub(super) struct Blocks {
    receiver: mpsc::Receiver<Block>,
    _maker: OwnedTask<()>,
}

impl Blocks {
    /// The rows of a table in the order of its key.
    pub(super) fn of(table: &'static Table, scale: f64) -> Self {
        Self::made(move |writer| {
            let _stopped = rows(table.name, scale, writer);
        })
    }

    /// Orders, each followed on its line by its own lines, with a tab before each of them.
    pub(super) fn nested_orders(scale: f64) -> Self {
        Self::made(move |writer| {
            let _stopped = nested(scale, writer);
        })
    }

    fn made(make: impl FnOnce(&mut Writer) + Send + 'static) -> Self {
        let (sender, receiver) = mpsc::channel(BLOCKS_MAX);
        let maker = OwnedTask::spawn_blocking(move || {
            let mut writer = Writer { block: Block::default(), sender };
            make(&mut writer);
            writer.hand_on();
        });
        Self { receiver, _maker: maker }
    }

    /// The next block; `None` after the last.
    pub(super) async fn next(&mut self) -> Option<Block> {
        self.receiver.recv().await
    }
}

struct Writer {
    block: Block,
    sender: mpsc::Sender<Block>,
}

impl Writer {
    /// Ends a row. `None` when nobody wants more of them.
    fn end_row(&mut self) -> Option<()> {
        self.block.text.push('\n');
        self.block.rows += 1;
        if self.block.text.len() < BLOCK_BYTES { Some(()) } else { self.hand_on() }
    }

    fn hand_on(&mut self) -> Option<()> {
        let block = std::mem::take(&mut self.block);
        if block.rows == 0 {
            return Some(());
        }
        self.sender.blocking_send(block).ok()
    }

    /// The fields of a row, without the `|` that the generator puts behind the last.
    fn fields(&mut self, row: &impl Display) {
        // Writing to a text cannot fail.
        let _ = write!(self.block.text, "{row}");
        if self.block.text.ends_with('|') {
            self.block.text.pop();
        }
    }

    fn all<T: Display>(&mut self, rows: impl Iterator<Item = T>) -> Option<()> {
        for row in rows {
            self.fields(&row);
            self.end_row()?;
        }
        Some(())
    }
}

fn rows(table: &str, scale: f64, writer: &mut Writer) -> Option<()> {
    match table {
        "region" => writer.all(RegionGenerator::new(scale, 1, 1).iter()),
        "nation" => writer.all(NationGenerator::new(scale, 1, 1).iter()),
        "supplier" => writer.all(SupplierGenerator::new(scale, 1, 1).iter()),
        "customer" => writer.all(CustomerGenerator::new(scale, 1, 1).iter()),
        "part" => writer.all(PartGenerator::new(scale, 1, 1).iter()),
        "partsupp" => writer.all(PartSuppGenerator::new(scale, 1, 1).iter()),
        "orders" => writer.all(OrderGenerator::new(scale, 1, 1).iter()),
        _ => writer.all(LineItemGenerator::new(scale, 1, 1).iter()),
    }
}

fn nested(scale: f64, writer: &mut Writer) -> Option<()> {
    let mut lines: Peekable<_> = LineItemGenerator::new(scale, 1, 1).iter().peekable();
    for order in OrderGenerator::new(scale, 1, 1).iter() {
        writer.fields(&order);
        // Both generators go through the orders in the same order.
        while let Some(line) = lines.next_if(|line| line.l_orderkey == order.o_orderkey) {
            writer.block.text.push('\t');
            writer.fields(&line);
        }
        writer.end_row()?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::super::table::TABLES;
    use super::*;

    async fn all(mut blocks: Blocks) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(block) = blocks.next().await {
            let before = lines.len();
            lines.extend(block.text.lines().map(str::to_owned));
            assert_eq!(u64::try_from(lines.len() - before).unwrap(), block.rows);
        }
        lines
    }

    #[tokio::test]
    async fn every_table_has_its_columns_and_about_its_rows() {
        for table in &TABLES {
            let lines = all(Blocks::of(table, 0.01)).await;
            let expected = table.expected_rows(0.01);
            let count = f64::from(u32::try_from(lines.len()).unwrap());
            assert!((count - expected).abs() <= expected * 0.01, "{}: {count} rows, {expected} expected", table.name);
            for line in lines {
                assert_eq!(line.split('|').count(), table.columns.len(), "{}: {line}", table.name);
                assert!(!line.contains(['\'', '\\', '\t', '"']), "{}: {line}", table.name);
            }
        }
    }

    #[tokio::test]
    async fn nested_orders_hold_exactly_the_lines() {
        let lines = all(Blocks::of(super::super::table::table("lineitem").unwrap(), 0.01)).await;
        let orders = all(Blocks::nested_orders(0.01)).await;
        let inside: Vec<String> = orders.iter().flat_map(|order| order.split('\t').skip(1)).map(str::to_owned).collect();
        assert_eq!(inside, lines);
        assert_eq!(orders.len(), 15_000);
        let one = orders.first().unwrap();
        let key = one.split('|').next().unwrap();
        assert!(one.split('\t').skip(1).all(|line| line.split('|').next() == Some(key)), "{one}");
    }

    #[tokio::test]
    async fn a_loader_that_goes_away_stops_the_generator() {
        let mut blocks = Blocks::of(super::super::table::table("lineitem").unwrap(), 1000.0);
        assert!(blocks.next().await.is_some());
        // Dropping must not wait for six thousand million lines.
        drop(blocks);
    }
}
