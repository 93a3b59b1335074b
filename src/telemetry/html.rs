//! A growing piece of HTML in which only text of ours is markup.
//! Knows nothing of reports.

use crate::domain::words::escape;

/// HTML: markup is known when this program is compiled, and everything else is text.
#[derive(Debug, Default)]
pub(super) struct Html(String);

impl Html {
    /// Markup of ours. Nothing that is made at run time has this type.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Text, in an element or in a double-quoted attribute. What does not print is shown as an escape.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        for (index, line) in text.split('\n').enumerate() {
            if index > 0 {
                self.0.push('\n');
            }
            self.printable(&escape::line(line.as_bytes()).text);
        }
        self
    }

    /// What was written.
    pub(super) fn finish(self) -> String {
        self.0
    }

    fn printable(&mut self, text: &str) {
        for character in text.chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                _ => self.0.push(character),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_never_markup() {
        let mut html = Html::default();
        html.raw("<b title=\"").text("\"'><script>&amp;").raw("\">").text("a\x1b\u{202e}\nb").raw("</b>");
        assert_eq!(
            html.finish(),
            "<b title=\"&quot;&#39;&gt;&lt;script&gt;&amp;amp;\">a\\x{1b}\\x{202e}\nb</b>"
        );
    }
}
