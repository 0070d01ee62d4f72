//! How deep JSON may nest on its way to those who must parse it.

/// The most arrays and objects within each other that a payload has and still goes out as JSON. Parsers give up at a depth
/// of their own, or die. With the three that stand around a payload in a history this stays below 64, where the first of
/// the common ones gives up (.NET's; Ruby's at 100, serde's at 128).
pub const MAX_DEPTH: usize = 60;

/// Whether a JSON text nests no deeper than [`MAX_DEPTH`]. Most has fewer brackets in all, which is counted in no time.
#[must_use]
pub fn is_shallow(json: &str) -> bool {
    let opens = json.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count();
    opens <= MAX_DEPTH || depth(json) <= MAX_DEPTH
}

/// How many arrays and objects lie within each other at most.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut bytes) = (0_usize, 0, json.bytes());
    while let Some(byte) = bytes.next() {
        match byte {
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => pass_string(&mut bytes),
            _ => {}
        }
    }
    deepest
}

/// Takes the rest of a string: brackets in it are text.
fn pass_string(bytes: &mut impl Iterator<Item = u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => drop(bytes.next()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_brackets_that_nest_count() {
        let nested = |open: &str, close: &str, many: usize| open.repeat(many) + "1" + &close.repeat(many);
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            assert!(is_shallow(&nested(open, close, MAX_DEPTH)));
            assert!(!is_shallow(&nested(open, close, MAX_DEPTH + 1)));
        }
        assert!(is_shallow(&format!("[{}]", "{},".repeat(1000) + "0")), "beside each other they may be many");
        assert!(is_shallow(&format!("\"{}\"", "[{".repeat(1000))), "in a text they are none");
        assert!(is_shallow(&format!(r#"["\\\"{}", "\\\\"]"#, "[".repeat(1000))), "nor behind an escaped quote");
        assert!(!is_shallow(&format!(r#"["\\\\", {}]"#, nested("[", "]", MAX_DEPTH))), "but behind a string that ends");
    }
}
