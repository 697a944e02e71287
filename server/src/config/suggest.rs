//! "Did you mean …?": the candidate nearest to what was typed. For configuration keys and for words on the command line.

/// The candidate that was probably meant, if one is near enough: by edits, or by being the same last word in another section.
#[must_use]
pub fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let typed_last = last(typed);
    candidates
        .into_iter()
        .map(|candidate| {
            let whole = edits(typed, candidate);
            // A key in the wrong section costs one more than the edits of its last word.
            let moved = 1 + edits(&typed_last, &last(candidate));
            (whole.min(moved), candidate)
        })
        .filter(|(cost, candidate)| *cost <= 1 + typed.len().min(candidate.len()) / 4)
        .min_by_key(|(cost, _)| *cost)
        .map(|(_, candidate)| candidate)
}

/// Insertions, removals, replacements and swaps of neighbours that turn one into the other.
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let same = a[i - 1] == b[j - 1];
            let mut cost = (above[j - 1] + usize::from(!same)).min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                cost = cost.min(before[j - 2] + 1);
            }
            row.push(cost);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_found_and_far_ones_are_not() {
        let keys = ["listen.amqp", "listen.http", "limits.heartbeat_s", "data_dir"];
        for (typed, meant) in [
            ("listen.ampq", Some("listen.amqp")),
            ("heartbeat_s", Some("limits.heartbeat_s")),
            ("limits.heartbeat", Some("limits.heartbeat_s")),
            ("data-dir", Some("data_dir")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, keys), meant, "{typed}");
        }
    }

    #[test]
    fn a_swap_of_neighbours_is_one_edit() {
        assert_eq!(edits("amqp", "ampq"), 1);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("same", "same"), 0);
    }
}
