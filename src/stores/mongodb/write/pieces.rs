//! Commands of many documents cut by their size: a command is a document itself, which the server takes up to 16 MiB and a little more.

use mongodb::bson::{Bson, Document};

/// Bytes of documents from which on a command takes no more of them. One that is larger goes alone, and the server judges it.
pub(super) const BYTES_MAX: usize = 8 << 20;

/// Bytes besides the value that an element takes, at most: its type, its name among others of an array, and lengths.
const ELEMENT_BYTES: usize = 16;

/// The documents in the same order, in pieces that are not larger than `bytes`, or of one document.
pub(super) fn cut(documents: Vec<Document>, bytes: usize) -> Vec<Vec<Document>> {
    let mut pieces = Vec::new();
    let (mut piece, mut filled) = (Vec::new(), 0_usize);
    for document in documents {
        let size = size(&document);
        if !piece.is_empty() && filled + size > bytes {
            pieces.push(std::mem::take(&mut piece));
            filled = 0;
        }
        filled += size;
        piece.push(document);
    }
    if !piece.is_empty() {
        pieces.push(piece);
    }
    pieces
}

/// Bytes of a document, or some more.
fn size(document: &Document) -> usize {
    ELEMENT_BYTES + document.iter().map(|(name, value)| name.len() + size_of_value(value)).sum::<usize>()
}

/// The same of an element without its name.
fn size_of_value(value: &Bson) -> usize {
    match value {
        Bson::String(text) => ELEMENT_BYTES + text.len(),
        Bson::Binary(binary) => ELEMENT_BYTES + binary.bytes.len(),
        Bson::Document(document) => ELEMENT_BYTES + size(document),
        Bson::Array(items) => 2 * ELEMENT_BYTES + items.iter().map(size_of_value).sum::<usize>(),
        // The longest of the others, a decimal, has 16 bytes.
        _ => 2 * ELEMENT_BYTES,
    }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::spec::BinarySubtype;
    use mongodb::bson::{Binary, doc};

    use super::*;

    #[test]
    fn no_piece_is_larger_than_allowed_unless_it_is_one_document() {
        let of = |length: usize| doc! { "x": "x".repeat(length) };
        let length = |document: &Document| document.get_str("x").unwrap().len();
        let rows: [(usize, Vec<usize>, Vec<Vec<usize>>); 4] = [
            (1_000, vec![400, 400, 400], vec![vec![400, 400], vec![400]]),
            (1_000, vec![5_000, 1, 2], vec![vec![5_000], vec![1, 2]]),
            (1_000, vec![1, 5_000, 2], vec![vec![1], vec![5_000], vec![2]]),
            (1_000, Vec::new(), Vec::new()),
        ];
        for (bytes, given, expected) in rows {
            let pieces = cut(given.iter().map(|length| of(*length)).collect(), bytes);
            let found: Vec<Vec<usize>> = pieces.iter().map(|piece| piece.iter().map(length).collect()).collect();
            assert_eq!(found, expected, "{given:?}");
        }
    }

    #[test]
    fn sizes_are_not_below_those_of_the_bytes() {
        let binary = Binary { subtype: BinarySubtype::Generic, bytes: vec![7; 300] };
        let rows = [
            doc! {},
            doc! { "a": 1_i32, "b": 2_i64, "c": 0.5, "d": true, "e": Bson::Null },
            doc! { "text": "x".repeat(1_000), "binary": binary, "at": mongodb::bson::DateTime::from_millis(0) },
            doc! { "list": vec![1_i64; 20_000], "inner": { "deeper": { "deepest": ["a", "b", Bson::Null] } } },
            doc! { "q": { "_id": { "$eq": mongodb::bson::oid::ObjectId::from_bytes([1; 12]) } }, "u": { "$set": { "n": 1_i64 } } },
            doc! { "n": Bson::Decimal128("1.50".parse().unwrap()) },
        ];
        for document in rows {
            assert!(size(&document) >= document.to_vec().unwrap().len(), "{document}");
        }
    }
}
