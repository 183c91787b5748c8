//! A YAML document as a tree that remembers where each node stands in the text.
//!
//! One tree serves both to read a manifest and to edit it, so that what is edited is what was read. The values are
//! what Helm makes of the text: YAML 1.1 scalars, the last of duplicate keys, `<<` merged at its place.

use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use granit_parser::{Event, Parser, ScalarStyle, ScanError};
use serde_json::{Map, Value};

use super::scalar::{self, Tag};

/// How deep a document may nest once its aliases are expanded.
const MAXIMUM_DEPTH: usize = 600;

/// How much aliases may add to a document, in bytes: a few lines of aliases to aliases can stand for terabytes.
const MAXIMUM_EXPANSION: usize = 16 * 1024 * 1024;

/// Why a document cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum YamlError {
    /// Not YAML.
    #[error("line {line}: {message}")]
    Syntax {
        /// Line within the document, from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// YAML, but with no JSON equivalent.
    #[error("{0}")]
    Value(String),
}

impl From<&ScanError> for YamlError {
    fn from(error: &ScanError) -> Self {
        Self::Syntax { line: error.marker().line(), message: error.info() }
    }
}

/// Index of a node in its [`Document`].
pub type NodeId = usize;

/// A node and its place.
#[derive(Debug)]
pub struct Node {
    /// What it is.
    pub content: Content,
    /// The bytes of a scalar or alias within the text; of a collection only its start.
    pub span: Range<usize>,
}

/// What a node is.
#[derive(Debug)]
pub enum Content {
    /// A scalar, its escapes and folds resolved.
    Scalar {
        /// The text.
        text: String,
        /// How it is written.
        style: ScalarStyle,
        /// What its tag asks for.
        tag: Tag,
    },
    /// A sequence.
    Sequence(Vec<NodeId>),
    /// A mapping, in the order of the text, duplicates and merges included.
    Mapping(Vec<(NodeId, NodeId)>),
    /// An alias for another node.
    Alias(NodeId),
}

/// One parsed document.
#[derive(Debug, Default)]
pub struct Document {
    nodes: Vec<Node>,
    root: Option<NodeId>,
}

enum Open {
    Sequence(NodeId, Vec<NodeId>),
    Mapping(NodeId, Vec<(NodeId, NodeId)>, Option<NodeId>),
}

impl Document {
    /// Parses the first document of a text; what stands behind a `...` is not read, as in Helm.
    pub fn parse(text: &str) -> Result<Self, YamlError> {
        let mut document = Self::default();
        let mut open: Vec<Open> = Vec::new();
        let mut anchors = std::collections::HashMap::new();
        let options = granit_parser::options! {
            emit_comments: false,
            block_scalar_eof_without_line_feed: true,
        };
        for event in Parser::new_from_str_with_options(text, options) {
            let (event, span) = event.map_err(|error| YamlError::from(&error))?;
            let span = span.byte_range().unwrap_or_default();
            let (content, anchor, opens) = match event {
                Event::Scalar(value, style, anchor, tag) => {
                    // The parser says `~` for a value that is not there; its place is empty.
                    let is_absent = span.is_empty() && style == ScalarStyle::Plain;
                    let text = if is_absent { String::new() } else { value.into_owned() };
                    let tag = tag.map_or(Tag::Absent, |tag| tag_of(&tag.to_string()));
                    (Content::Scalar { text, style, tag }, anchor, false)
                }
                Event::SequenceStart(_, anchor, _) => (Content::Sequence(Vec::new()), anchor, true),
                Event::MappingStart(_, anchor, _) => (Content::Mapping(Vec::new()), anchor, true),
                Event::Alias(anchor) => {
                    let target = *anchors
                        .get(&anchor)
                        .ok_or_else(|| YamlError::Value("an alias without its anchor".to_owned()))?;
                    (Content::Alias(target), 0, false)
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    document.close(open.pop());
                    continue;
                }
                Event::DocumentEnd => break,
                _ => continue,
            };
            let id = document.nodes.len();
            let is_mapping = matches!(content, Content::Mapping(_));
            document.nodes.push(Node { content, span });
            if anchor != 0 {
                anchors.insert(anchor, id);
            }
            match open.last_mut() {
                None => document.root = Some(id),
                Some(Open::Sequence(_, items)) => items.push(id),
                Some(Open::Mapping(_, entries, key)) => match key.take() {
                    None => *key = Some(id),
                    Some(key) => entries.push((key, id)),
                },
            }
            if opens && is_mapping {
                open.push(Open::Mapping(id, Vec::new(), None));
            } else if opens {
                open.push(Open::Sequence(id, Vec::new()));
            }
        }
        Ok(document)
    }

    fn close(&mut self, open: Option<Open>) {
        match open {
            Some(Open::Sequence(id, items)) => self.nodes[id].content = Content::Sequence(items),
            Some(Open::Mapping(id, entries, _)) => self.nodes[id].content = Content::Mapping(entries),
            None => {}
        }
    }

    /// The top node; `None` for a document of comments.
    pub fn root(&self) -> Option<NodeId> {
        self.root
    }

    /// A node as it stands in the text, which may be an alias.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id]
    }

    /// Every node, in the order of the text.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes.iter().enumerate()
    }

    /// The node that a node stands for, aliases followed.
    pub fn target(&self, mut id: NodeId) -> NodeId {
        // An alias can only point at what came before it, so this ends.
        while let Content::Alias(target) = self.nodes[id].content {
            id = target;
        }
        id
    }

    /// The text of a scalar that Helm reads as text.
    pub fn text(&self, id: NodeId) -> Option<&str> {
        let Content::Scalar { text, style, tag } = &self.nodes[self.target(id)].content else {
            return None;
        };
        match scalar_value(text, *style, *tag) {
            Ok(Value::String(value)) if value == *text => Some(text),
            _ => None,
        }
    }

    /// Whether a node stands for a sequence.
    pub fn is_sequence(&self, id: NodeId) -> bool {
        matches!(self.nodes[self.target(id)].content, Content::Sequence(_))
    }

    /// The items of a sequence, empty for everything else.
    pub fn items(&self, id: NodeId) -> &[NodeId] {
        match &self.nodes[self.target(id)].content {
            Content::Sequence(items) => items,
            _ => &[],
        }
    }

    /// The node under a key of a mapping as Helm finds it: of several the last, merges counted where they stand.
    pub fn get(&self, id: NodeId, key: &str) -> Option<NodeId> {
        self.get_within(id, key, 0)
    }

    fn get_within(&self, id: NodeId, key: &str, depth: usize) -> Option<NodeId> {
        let Content::Mapping(entries) = &self.nodes[self.target(id)].content else {
            return None;
        };
        if depth > MAXIMUM_DEPTH {
            return None;
        }
        entries.iter().rev().find_map(|&(entry_key, value)| {
            if self.is_merge(entry_key) {
                // Of a list of merged mappings the first that has the key wins.
                match &self.nodes[self.target(value)].content {
                    Content::Sequence(items) => {
                        items.iter().find_map(|&item| self.get_within(item, key, depth + 1))
                    }
                    _ => self.get_within(value, key, depth + 1),
                }
            } else {
                (self.key(entry_key).ok().as_deref() == Some(key)).then_some(value)
            }
        })
    }

    fn is_merge(&self, key: NodeId) -> bool {
        matches!(&self.nodes[key].content,
            Content::Scalar { text, style: ScalarStyle::Plain, tag: Tag::Absent } if text == "<<")
    }

    fn key(&self, id: NodeId) -> Result<String, YamlError> {
        let Content::Scalar { text, style, tag } = &self.nodes[self.target(id)].content else {
            return Err(YamlError::Value("a key is a list or a mapping".to_owned()));
        };
        let value = scalar_value(text, *style, *tag)?;
        scalar::key_text(text, &value).ok_or_else(|| YamlError::Value(format!("{text:?} cannot be a key")))
    }

    /// The document as the JSON that Helm sends.
    pub fn to_json(&self) -> Result<Value, YamlError> {
        let mut expansion = Expansion::default();
        self.root.map_or(Ok(Value::Null), |root| self.value(root, &mut expansion, 0))
    }

    fn value(&self, id: NodeId, expansion: &mut Expansion, depth: usize) -> Result<Value, YamlError> {
        if depth > MAXIMUM_DEPTH {
            return Err(YamlError::Value("nested too deeply".to_owned()));
        }
        match &self.nodes[id].content {
            Content::Scalar { text, style, tag } => {
                expansion.count(text.len())?;
                scalar_value(text, *style, *tag)
            }
            Content::Sequence(items) => {
                expansion.count(items.len())?;
                items
                    .iter()
                    .map(|&item| self.value(item, expansion, depth + 1))
                    .collect::<Result<Vec<Value>, YamlError>>()
                    .map(Value::Array)
            }
            Content::Mapping(_) => {
                let mut map = Map::new();
                self.merge_into(&mut map, id, expansion, depth)?;
                Ok(Value::Object(map))
            }
            Content::Alias(target) => {
                expansion.aliases += 1;
                let value = self.value(*target, expansion, depth + 1);
                expansion.aliases -= 1;
                value
            }
        }
    }

    fn merge_into(
        &self,
        map: &mut Map<String, Value>,
        id: NodeId,
        expansion: &mut Expansion,
        depth: usize,
    ) -> Result<(), YamlError> {
        let target = self.target(id);
        let Content::Mapping(entries) = &self.nodes[target].content else {
            return Err(YamlError::Value("`<<` merges something that is no mapping".to_owned()));
        };
        if depth > MAXIMUM_DEPTH {
            return Err(YamlError::Value("nested too deeply".to_owned()));
        }
        let is_alias = usize::from(target != id);
        expansion.aliases += is_alias;
        expansion.count(entries.len())?;
        for &(key, value) in entries {
            if !self.is_merge(key) {
                map.insert(self.key(key)?, self.value(value, expansion, depth + 1)?);
            } else if let Content::Sequence(items) = &self.nodes[self.target(value)].content {
                for &item in items.iter().rev() {
                    self.merge_into(map, item, expansion, depth + 1)?;
                }
            } else {
                self.merge_into(map, value, expansion, depth + 1)?;
            }
        }
        expansion.aliases -= is_alias;
        Ok(())
    }
}

/// Counts what is read through aliases.
#[derive(Default)]
struct Expansion {
    aliases: usize,
    bytes: usize,
}

impl Expansion {
    fn count(&mut self, bytes: usize) -> Result<(), YamlError> {
        if self.aliases > 0 {
            self.bytes += bytes + size_of::<Value>();
        }
        if self.bytes > MAXIMUM_EXPANSION {
            return Err(YamlError::Value("its aliases expand without measure".to_owned()));
        }
        Ok(())
    }
}

fn tag_of(tag: &str) -> Tag {
    let suffix = tag.strip_prefix("tag:yaml.org,2002:").or_else(|| tag.strip_prefix("!!"));
    match suffix {
        Some("binary") => Tag::Binary,
        Some("bool") => Tag::Boolean,
        Some("int") => Tag::Integer,
        Some("float") => Tag::Float,
        Some("null") => Tag::Null,
        _ => Tag::Text,
    }
}

fn scalar_value(text: &str, style: ScalarStyle, tag: Tag) -> Result<Value, YamlError> {
    // Quotes make a text, unless a tag says what it is.
    let tag = if style != ScalarStyle::Plain && tag == Tag::Absent { Tag::Text } else { tag };
    if tag == Tag::Binary {
        return STANDARD
            .decode(text)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .map(Value::String)
            .ok_or_else(|| YamlError::Value("a `!!binary` value is not base64 of a text".to_owned()));
    }
    scalar::resolve(text, tag).map_err(YamlError::Value)
}
