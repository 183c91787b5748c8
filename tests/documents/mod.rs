//! What the tests of the documents read from them: blocks of code, code within the text, the words of a command line.

pub mod shown;

/// A fenced block of code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The word behind the fence: `sh`, `text`, `yaml`, …; may be empty.
    pub language: String,
    /// Its lines.
    pub lines: Vec<String>,
}

/// The fenced blocks of a document, in order.
pub fn blocks(document: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut is_open = false;
    for line in document.lines() {
        match line.trim_start().strip_prefix("```") {
            Some(_) if is_open => is_open = false,
            Some(language) => {
                is_open = true;
                blocks.push(Block { language: language.trim().to_owned(), lines: Vec::new() });
            }
            None if is_open => blocks.last_mut().expect("an open block").lines.push(line.to_owned()),
            None => {}
        }
    }
    blocks
}

/// The code within the text, outside of fenced blocks, in order.
pub fn inline_code(document: &str) -> Vec<String> {
    let mut is_open = false;
    let mut code = Vec::new();
    for line in document.lines() {
        if line.trim_start().starts_with("```") {
            is_open = !is_open;
        } else if !is_open {
            code.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    code
}

/// Splits a line as a shell does, as far as the documents need it: words, quotes, comments.
pub fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote: Option<char> = None;
    for character in line.chars() {
        match (character, quote) {
            (character, Some(open)) if character == open => quote = None,
            ('"' | '\'', None) => quote = Some(character),
            ('#', None) if word.is_empty() => break,
            (' ', None) => words.push(std::mem::take(&mut word)),
            (other, _) => word.push(other),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}
