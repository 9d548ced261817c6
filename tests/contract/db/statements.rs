//! One SQL text for both databases: statements outside the drivers use only SQL that means the same on both.

use std::path::Path;

/// Files that may contain SQL of only one database.
const DRIVERS: [&str; 6] =
    ["sqlite.rs", "postgres.rs", "pgconn.rs", "pgconnect.rs", "pgcheck.rs", "checkpoint.rs"];

/// String literals of Rust source, with `\`-continued lines joined.
fn literals(source: &str) -> Vec<String> {
    let code: String =
        source.lines().filter(|l| !l.trim_start().starts_with("//")).map(|l| format!("{l}\n")).collect();
    let mut literals = Vec::new();
    let mut chars = code.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\'' && chars.peek() == Some(&'"') {
            chars.next();
        }
        if c != '"' {
            continue;
        }
        let mut text = String::new();
        while let Some(c) = chars.next() {
            match c {
                '"' => break,
                '\\' => match chars.next() {
                    Some('\n') => while chars.next_if(|c| c.is_whitespace()).is_some() {},
                    Some(other) => text.push(other),
                    None => {}
                },
                other => text.push(other),
            }
        }
        literals.push(text);
    }
    literals
}

fn is_sql(text: &str) -> bool {
    let verbs =
        ["SELECT ", "INSERT INTO ", "UPDATE ", "DELETE FROM ", "WITH ", "WHERE ", "AND ", "ORDER BY "];
    verbs.iter().any(|verb| text.starts_with(verb))
}

/// The tables and the columns of the declarations with `row!`, of which `select!` makes statements.
fn parts_of_rows(source: &str) -> Vec<String> {
    let rows = source.split("row! {").skip(1).filter_map(|rest| rest.split("\n}\n").next());
    rows.flat_map(literals).collect()
}

/// The reason why a statement, or the last part of one that a macro assembles, does not mean the same on both
/// databases; `None` if it does.
fn portability_fault(sql: &str) -> Option<String> {
    let complete = ["SELECT ", "INSERT INTO ", "UPDATE ", "DELETE FROM ", "WITH "]
        .iter()
        .any(|verb| sql.starts_with(verb));
    let mut highest = if complete { Some(0) } else { None };
    for (place, _) in sql.match_indices('$') {
        let digits: String = sql[place + 1..].chars().take_while(char::is_ascii_digit).collect();
        // The variable of a macro is not a placeholder.
        let Ok(number) = digits.parse::<u32>() else { continue };
        let known = highest.unwrap_or(number - 1);
        if number > known + 1 {
            return Some(format!(
                "${number} comes before ${}: SQLite numbers them by first appearance",
                known + 1
            ));
        }
        highest = Some(known.max(number));
    }
    let lower = sql.to_lowercase();
    for word in [
        "greatest(",
        "least(",
        "ilike",
        "any(",
        "::",
        "insert or",
        "replace into",
        "is not distinct",
        "is distinct",
        "nulls first",
        "nulls last",
        " true",
        " false",
        "boolean",
        "now()",
        "datetime(",
        "random()",
        "json",
        "rowid",
        "autoincrement",
        "limit -1",
        "glob ",
        "strftime",
        "generate_series",
        "to_timestamp",
        "unnest",
        "length(",
        "ifnull(",
        "nvl(",
        "concat(",
        "$$",
    ] {
        if lower.contains(word) {
            return Some(format!("'{word}' does not mean the same on both"));
        }
    }
    for function in ["max(", "min("] {
        for (place, _) in lower.match_indices(function) {
            let mut depth = 0;
            for c in lower[place + function.len() - 1..].chars() {
                match c {
                    '(' => depth += 1,
                    ')' => depth -= 1,
                    ',' if depth == 1 => {
                        return Some(format!(
                            "{function}) with two arguments exists only in SQLite: use CASE"
                        ));
                    }
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
            }
        }
    }
    for (place, _) in lower.match_indices(" like ") {
        if !lower[place..].contains("escape") {
            return Some("LIKE needs ESCAPE".into());
        }
    }
    for (place, _) in lower.match_indices(" is null") {
        if lower[..place].ends_with(|c: char| c.is_ascii_digit()) && lower[..place].contains('$') {
            return Some("a parameter tested for NULL needs CAST".into());
        }
    }
    // A comparison as a result column is a boolean on PostgreSQL and an integer on SQLite.
    if let Some(columns) = lower.strip_prefix("select ").and_then(|rest| rest.split(" from ").next())
        && !columns.contains("case ")
        && !columns.contains('(')
        && columns.contains(['=', '<', '>'])
    {
        return Some("a comparison as a column".into());
    }
    None
}

#[test]
fn every_statement_means_the_same_on_both_databases() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/store/src/db");
    let (mut count, mut faults) = (0, Vec::new());
    let folders = [folder.join("engine"), folder.join("tables"), folder];
    for entry in folders.iter().flat_map(|folder| std::fs::read_dir(folder).expect("a directory").flatten()) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.ends_with(".rs") || DRIVERS.contains(&name.as_str()) {
            continue;
        }
        let source = std::fs::read_to_string(entry.path()).expect("a file");
        let mut texts = literals(&source);
        texts.retain(|text| is_sql(text));
        texts.extend(parts_of_rows(&source));
        count += texts.len();
        for sql in texts {
            faults.extend(portability_fault(&sql).map(|fault| format!("{name}: {fault}: {sql}")));
        }
    }
    assert!(count > 80, "only {count} statements were found: the scanner misses statements");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_scanner_finds_faulty_statements() {
    for bad in [
        "SELECT $2, $1",
        "SELECT a FROM t WHERE b = $1 AND c = $3",
        "SELECT max(a, b) FROM t",
        "UPDATE t SET a = min(a, (SELECT 1))",
        "SELECT a FROM t WHERE b LIKE $1",
        "SELECT a FROM t WHERE $1 IS NULL OR a = $1",
        "SELECT a = 1 FROM t",
        "SELECT a FROM t WHERE a = ANY($1)",
        "SELECT a::TEXT FROM t",
        "INSERT OR REPLACE INTO t (a) VALUES ($1)",
        "SELECT a FROM t ORDER BY a NULLS LAST",
    ] {
        assert!(portability_fault(bad).is_some(), "{bad}");
    }
    for good in [
        "SELECT coalesce(max(seq), 0) + 1 FROM t WHERE a = $1 AND b = $1 AND c = $2",
        "AND a = $4 LIMIT $5",
        "SELECT a FROM t WHERE b LIKE $1 ESCAPE '\\'",
    ] {
        assert_eq!(portability_fault(good), None, "{good}");
    }
    let source = "f(\"SELECT a, \\\n        b FROM t\"); g('\"'); h(\"UPDATE t\")";
    assert_eq!(literals(source), ["SELECT a, b FROM t", "UPDATE t"]);
    let source = "row! {\n    struct A from \"t JOIN u\" {\n        a: i64,\n        b: i64 = \"ifnull(b, 0)\",\n    }\n}\n\"\"";
    assert_eq!(parts_of_rows(source), ["t JOIN u", "ifnull(b, 0)"]);
    assert!(portability_fault("ifnull(b, 0)").is_some());
}
