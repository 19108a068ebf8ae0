//! Patterns with wildcards: `*` stands for any number of characters, `?` for exactly one.
//!
//! A pattern is cut at its `*` when the policy is read. The first piece must begin the text and the
//! last one must end it; each piece between them is searched for after the one before. Taking the
//! first place where a piece is found is always right, because a piece has a fixed number of
//! characters: no other place needs to be tried.

use alloc::boxed::Box;
use alloc::vec::Vec;

use memchr::memmem::Finder;

/// A pattern, ready to be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    /// There is no `*` in it.
    Whole(Piece),
    /// What is before the first `*`, between two of them, and after the last.
    Cut {
        first: Piece,
        between: Box<[Between]>,
        last: Piece,
    },
}

impl Pattern {
    pub(super) fn new(pattern: &str) -> Self {
        let mut pieces = pattern.split('*');
        let first = Piece::new(pieces.next().unwrap_or_default());
        let Some(last) = pieces.next_back() else {
            return Self::Whole(first);
        };
        // Two `*` in a row are one.
        let between = pieces.filter(|piece| !piece.is_empty()).map(Between::new);
        let between = between.collect::<Vec<_>>().into();
        let last = Piece::new(last);
        Self::Cut {
            first,
            between,
            last,
        }
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Whole(piece) => piece.strip_prefix(text) == Some(""),
            Self::Cut {
                first,
                between,
                last,
            } => first
                .strip_prefix(text)
                .and_then(|text| last.strip_suffix(text))
                .and_then(|text| {
                    between
                        .iter()
                        .try_fold(text, |text, piece| piece.strip_through(text))
                })
                .is_some(),
        }
    }

    /// Whether it matches any text that begins with `prefix`.
    pub(super) fn can_begin_with(&self, prefix: &str) -> bool {
        let (piece, open) = match self {
            Self::Whole(piece) => (piece, false),
            Self::Cut { first, .. } => (first, true),
        };
        let mut prefix = prefix.chars();
        for expected in piece.text.chars() {
            match prefix.next() {
                None => return true,
                Some(found) if same(expected, found) => {}
                Some(_) => return false,
            }
        }
        open || prefix.next().is_none()
    }
}

/// A part of a pattern without `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    text: Box<str>,
    /// It has no `?`, so that its bytes can be compared.
    literal: bool,
}

impl Piece {
    fn new(text: &str) -> Self {
        Self {
            text: text.into(),
            literal: !text.contains('?'),
        }
    }

    /// What follows the piece at the beginning of the text.
    fn strip_prefix<'a>(&self, text: &'a str) -> Option<&'a str> {
        if self.literal {
            return text.strip_prefix(&*self.text);
        }
        let mut rest = text.chars();
        let mut expected = self.text.chars();
        expected
            .all(|expected| rest.next().is_some_and(|found| same(expected, found)))
            .then_some(rest.as_str())
    }

    /// What precedes the piece at the end of the text.
    fn strip_suffix<'a>(&self, text: &'a str) -> Option<&'a str> {
        if self.literal {
            return text.strip_suffix(&*self.text);
        }
        let mut rest = text.chars();
        let mut expected = self.text.chars().rev();
        expected
            .all(|expected| rest.next_back().is_some_and(|found| same(expected, found)))
            .then_some(rest.as_str())
    }
}

/// A piece between two `*`: it may be anywhere.
#[derive(Clone, Debug)]
pub(super) struct Between {
    piece: Piece,
    /// Searches for a literal piece, in time linear in the text. One with `?` is compared at each
    /// place.
    finder: Option<Finder<'static>>,
}

impl Between {
    fn new(text: &str) -> Self {
        let piece = Piece::new(text);
        let finder = piece.literal.then(|| Finder::new(text).into_owned());
        Self { piece, finder }
    }

    /// What follows the piece at the first place where the text has it.
    fn strip_through<'a>(&self, text: &'a str) -> Option<&'a str> {
        if let Some(finder) = &self.finder {
            let place = finder.find(text.as_bytes())?;
            return text.get(place + self.piece.text.len()..);
        }
        let mut places = text.char_indices().map(|(place, _)| place);
        places.find_map(|place| self.piece.strip_prefix(text.get(place..)?))
    }
}

/// The piece says it all.
impl PartialEq for Between {
    fn eq(&self, other: &Self) -> bool {
        self.piece == other.piece
    }
}

impl Eq for Between {}

fn same(expected: char, found: char) -> bool {
    expected == '?' || expected == found
}

/// Several patterns, one of which has to match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Patterns(Box<[Pattern]>);

impl Patterns {
    pub(super) fn any(&self, text: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(text))
    }
}

impl FromIterator<Pattern> for Patterns {
    fn from_iter<I: IntoIterator<Item = Pattern>>(patterns: I) -> Self {
        Self(patterns.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    /// What a pattern means, by definition.
    fn naive(pattern: &[char], text: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ['*', rest @ ..] => (0..=text.len()).any(|skipped| naive(rest, &text[skipped..])),
            ['?', rest @ ..] => !text.is_empty() && naive(rest, &text[1..]),
            [expected, rest @ ..] => text.first() == Some(expected) && naive(rest, &text[1..]),
        }
    }

    /// Every string of up to so many characters of an alphabet.
    fn strings(alphabet: &[char], longest: usize) -> Vec<Vec<char>> {
        let mut all = Vec::from([Vec::new()]);
        let mut before = 0;
        for _ in 0..longest {
            let until = all.len();
            for at in before..until {
                for &next in alphabet {
                    let mut string = all[at].clone();
                    string.push(next);
                    all.push(string);
                }
            }
            before = until;
        }
        all
    }

    fn compare_all(pattern_alphabet: &[char], longest: usize, texts: &[char], longest_text: usize) {
        let texts: Vec<(Vec<char>, String)> = strings(texts, longest_text)
            .into_iter()
            .map(|text| (text.clone(), text.into_iter().collect()))
            .collect();
        let (mut matches, mut compared) = (0_u32, 0_u32);
        for chars in strings(pattern_alphabet, longest) {
            let pattern = Pattern::new(&chars.iter().collect::<String>());
            for (text_chars, text) in &texts {
                let expected = naive(&chars, text_chars);
                assert_eq!(pattern.matches(text), expected, "{chars:?} {text:?}");
                matches += u32::from(expected);
                compared += 1;
            }
        }
        assert!(matches > compared / 100 && matches < compared / 2);
    }

    #[test]
    fn every_short_pattern_matches_as_defined() {
        compare_all(&['a', '*', '?', ':'], 6, &['a', ':'], 6);
    }

    #[test]
    fn a_question_mark_is_one_character_of_any_length() {
        compare_all(&['é', '*', '?', '😀'], 5, &['é', '😀', 'a'], 5);
    }

    #[test]
    fn wildcards_in_the_text_are_ordinary_characters() {
        compare_all(&['a', '*', '?'], 5, &['a', '*', '?'], 5);
        assert!(!Pattern::new("a").matches("*"));
        assert!(!Pattern::new("a").matches("?"));
    }

    #[test]
    fn long_patterns_and_texts_end_in_time() {
        // Exponential for matchers that try again: 2^400 ways to share the text among the stars.
        let text = "a".repeat(800);
        assert!(
            !Pattern::new(&"a*".repeat(400)).matches(&(text.clone() + "b")[1..].replace('a', "c"))
        );
        assert!(!Pattern::new(&("a*".repeat(400) + "b")).matches(&text));
        assert!(!Pattern::new(&("*a".repeat(400) + "b*")).matches(&text));
        assert!(!Pattern::new(&("*?a".repeat(200) + "b*")).matches(&text));
        assert!(Pattern::new(&"*a".repeat(400)).matches(&text));
        assert!(Pattern::new(&"?*".repeat(800)).matches(&text));
        assert!(!Pattern::new(&"?*".repeat(801)).matches(&text));
        assert!(Pattern::new(&"*".repeat(32_768)).matches(&text));
    }

    #[test]
    fn what_a_pattern_can_begin_with_is_told_without_a_text() {
        for longest in 0..4 {
            for prefix in strings(&['a', ':'], longest) {
                let prefix: String = prefix.into_iter().collect();
                for chars in strings(&['a', ':', '?', '*'], 4) {
                    let pattern = Pattern::new(&chars.iter().collect::<String>());
                    let expected = strings(&['a', ':'], 4)
                        .iter()
                        .map(|rest| prefix.clone() + &rest.iter().collect::<String>())
                        .any(|text| pattern.matches(&text));
                    assert_eq!(
                        pattern.can_begin_with(&prefix),
                        expected,
                        "{chars:?} {prefix}"
                    );
                }
            }
        }
    }
}
