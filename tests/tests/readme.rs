//! The console tour of README.md does what it shows. A line that starts with `$ ` is a command, what follows is all that it prints, and
//! `[..]` stands for any part of a line.

use stillkey_tests::cli::Sandbox;

struct Step {
    line: usize,
    command: String,
    expected: Vec<String>,
}

fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        if !inside {
            inside = line.trim_end() == "```console";
        } else if line.starts_with("```") {
            inside = false;
        } else if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step {
                line: number,
                command: command.to_owned(),
                expected: Vec::new(),
            });
        } else {
            let step = steps.last_mut();
            let step = step.unwrap_or_else(|| panic!("line {number}: output without a command"));
            step.expected.push(line.to_owned());
        }
    }
    steps
}

/// Whether `[..]` in the pattern can stand for something that makes it the line.
fn fits(pattern: &str, line: &str) -> bool {
    let Some((start, rest)) = pattern.split_once("[..]") else {
        return pattern == line;
    };
    let Some(tail) = line.strip_prefix(start) else {
        return false;
    };
    (0..=tail.len())
        .filter(|at| tail.is_char_boundary(*at))
        .any(|at| fits(rest, &tail[at..]))
}

#[test]
fn the_tour_in_the_readme_does_what_it_shows() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let readme = std::fs::read_to_string(path).unwrap();
    let steps = steps(&readme);
    assert!(steps.len() >= 5, "README.md has no console tour");
    let sandbox = Sandbox::new();
    for step in steps {
        // The whole tour runs in one directory, each command in a shell of its own.
        let ran = sandbox.shell(&format!("exec 2>&1\n{}", step.command));
        let text = ran.text();
        let found: Vec<_> = text.lines().collect();
        let fits = found.len() == step.expected.len()
            && found
                .iter()
                .zip(&step.expected)
                .all(|(line, pattern)| fits(pattern, line));
        assert!(
            fits,
            "README.md:{}: $ {}\n--- expected\n{}\n--- found\n{text}",
            step.line,
            step.command,
            step.expected.join("\n")
        );
        assert!(ran.status.success(), "README.md:{}: {ran:?}", step.line);
    }
}

#[test]
fn patterns_fit_whole_lines() {
    for (pattern, line, expected) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("[..]", "", true),
        ("a[..]c[..]", "abcd", true),
        ("a[..]c", "abcd", false),
        ("a[..]b[..]b", "ab", false),
    ] {
        assert_eq!(fits(pattern, line), expected, "{pattern} {line}");
    }
}
