//! The query of a request to the API. Nothing of it is passed over in silence: a parameter that there is not,
//! and one that is given twice and so may mean either, are mistakes.

use axum::http::StatusCode;

use super::problem::Problem;
use crate::quote::Quoted;
use crate::transport::query::Query;

/// Understands a query that may have parameters of these `names`, each once but for those that come `often`.
pub(super) fn read(raw: &str, names: &[&'static str], often: &[&str]) -> Result<Query, Problem> {
    let bad = |field, detail: String| Problem::field(StatusCode::BAD_REQUEST, field, detail);
    let query = Query::parse(raw).map_err(|error| bad("query", error.to_string()))?;
    if let Some(stranger) = query.stranger(names) {
        return Err(bad("query", format!("{} is no parameter here: there {}", Quoted(stranger), listed(names))));
    }
    match names.iter().find(|name| !often.contains(name) && query.all(name).nth(1).is_some()) {
        Some(name) => Err(bad(name, format!("{name} is given more than once: give it once"))),
        None => Ok(query),
    }
}

fn listed(names: &[&str]) -> String {
    match names {
        [] => "are none".into(),
        [one] => format!("is {one}"),
        [first @ .., last] => format!("are {} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_not_and_what_comes_twice_is_a_mistake_that_names_it() {
        let said = |raw, names: &[&'static str]| match read(raw, names, &["b"]) {
            Ok(_) => String::new(),
            Err(problem) => format!("{problem:?}"),
        };
        assert_eq!(said("a=1&b=2&b=3&&", &["a", "b"]), "");
        assert!(said("c", &["a", "b", "x"]).contains(r#"\"c\" is no parameter here: there are a, b and x"#));
        assert!(said("c=1", &["a"]).contains("there is a") && said("=1", &[]).contains("there are none"));
        let twice = said("a=1&b=2&a=1", &["a", "b"]);
        assert!(twice.contains("field: Some(\"a\")") && twice.contains("a is given more than once"), "{twice}");
    }
}
