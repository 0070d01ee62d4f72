//! Templates of topics: what a route makes of a path and a query.

use std::fmt;

use crate::topic::{Topic, allowed};

/// A topic's name with holes, e.g. `room:{path.id}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

/// A piece of a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Text as it stands.
    Text(String),
    /// `{path.x}`: a segment of the route's path.
    Path(String),
    /// `{query.x}`: a query parameter.
    Query(String),
}

/// Why a text is no template of topics.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTemplate {
    /// A brace without its partner.
    #[error("a brace stands alone; write {{path.name}} or {{query.name}}")]
    Brace,
    /// A hole that nothing fills.
    #[error(
        "{{{0}}} is filled by nothing; write {{path.name}} for a segment of the path or {{query.name}} for a parameter"
    )]
    Hole(String),
    /// No client can meet such a topic.
    #[error(transparent)]
    Topic(#[from] crate::topic::BadTopic),
}

impl Template {
    /// Reads a template and checks that it can make a topic.
    ///
    /// # Errors
    /// What keeps it from ever making one.
    pub fn parse(text: &str) -> Result<Self, BadTemplate> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find(['{', '}']) {
            push_text(&mut parts, &rest[..start])?;
            let inside = rest[start..].strip_prefix('{').ok_or(BadTemplate::Brace)?;
            let end = inside.find(['{', '}']).ok_or(BadTemplate::Brace)?;
            rest = inside[end..].strip_prefix('}').ok_or(BadTemplate::Brace)?;
            parts.push(hole(&inside[..end])?);
        }
        push_text(&mut parts, rest)?;
        match parts.as_slice() {
            [] => drop(Topic::parse_client("")?),
            [Part::Text(whole)] => drop(Topic::parse_client(whole)?),
            [Part::Text(start), ..] if start.starts_with('@') => drop(Topic::parse_client(start)?),
            _ => {}
        }
        Ok(Self(parts))
    }

    /// Its pieces in order.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.0
    }
}

impl fmt::Display for Template {
    /// As it was written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::Path(name) => write!(f, "{{path.{name}}}"),
            Part::Query(name) => write!(f, "{{query.{name}}}"),
        })
    }
}

fn push_text(parts: &mut Vec<Part>, text: &str) -> Result<(), BadTemplate> {
    if let Some(stranger) = text.chars().find(|&c| !allowed(c)) {
        return Err(crate::topic::BadTopic::Character(stranger).into());
    }
    if !text.is_empty() {
        parts.push(Part::Text(text.into()));
    }
    Ok(())
}

fn hole(name: &str) -> Result<Part, BadTemplate> {
    match name.split_once('.') {
        Some(("path", segment)) if !segment.is_empty() => Ok(Part::Path(segment.into())),
        Some(("query", parameter)) if !parameter.is_empty() => Ok(Part::Query(parameter.into())),
        _ => Err(BadTemplate::Hole(name.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::BadTopic;

    #[test]
    fn a_template_is_text_and_holes() {
        let template = Template::parse("room:{path.id}/{query.part}").unwrap();
        let parts =
            [Part::Text("room:".into()), Part::Path("id".into()), Part::Text("/".into()), Part::Query("part".into())];
        assert_eq!(template.parts(), parts);
        assert_eq!(template.to_string(), "room:{path.id}/{query.part}");
    }

    #[test]
    fn what_can_never_make_a_topic_is_no_template() {
        assert_eq!(Template::parse(""), Err(BadTemplate::Topic(BadTopic::Empty)));
        assert_eq!(Template::parse("a b{path.x}"), Err(BadTemplate::Topic(BadTopic::Character(' '))));
        assert_eq!(Template::parse("@user:{path.x}"), Err(BadTemplate::Topic(BadTopic::Reserved)));
        assert_eq!(Template::parse("{user}"), Err(BadTemplate::Hole("user".into())));
        assert_eq!(Template::parse("{path.}"), Err(BadTemplate::Hole("path.".into())));
        for lonely in ["{path.x", "path.x}", "{path.{x}}", "}{"] {
            assert_eq!(Template::parse(lonely), Err(BadTemplate::Brace), "{lonely}");
        }
    }
}
