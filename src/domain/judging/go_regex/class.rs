//! The sets of characters that Go's patterns can name.
//! Knows nothing of the pattern around them.

use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, HirKind};

/// Every character, or every one but the newline.
pub(super) fn any(with_newline: bool) -> ClassUnicode {
    let mut set = ClassUnicode::empty();
    if !with_newline {
        set.push(ClassUnicodeRange::new('\n', '\n'));
    }
    set.negate();
    set
}

/// The characters between two code points; Go lets a pattern name surrogates, which no text contains.
pub(super) fn range(low: u32, high: u32) -> Option<ClassUnicodeRange> {
    let low = char::from_u32(low).unwrap_or('\u{e000}');
    let high = char::from_u32(high).unwrap_or('\u{d7ff}');
    (low <= high).then(|| ClassUnicodeRange::new(low, high))
}

/// `\d`, `\s`, `\w` and their opposites: ASCII only in Go.
pub(super) fn perl(letter: char, ignore_case: bool) -> Option<ClassUnicode> {
    let ranges: &[(char, char)] = match letter.to_ascii_lowercase() {
        'd' => &[('0', '9')],
        's' => &[('\t', '\n'), ('\x0c', '\r'), (' ', ' ')],
        'w' => &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')],
        _ => return None,
    };
    Some(finished(from_table(ranges), letter.is_ascii_uppercase(), ignore_case))
}

/// What `[:name:]` and `[:^name:]` name: ASCII only.
pub(super) fn posix(name: &str, ignore_case: bool) -> Option<ClassUnicode> {
    let (name, is_negated) = without_caret(name);
    let ranges: &[(char, char)] = match name {
        "alnum" => &[('0', '9'), ('A', 'Z'), ('a', 'z')],
        "alpha" => &[('A', 'Z'), ('a', 'z')],
        "ascii" => &[('\0', '\x7f')],
        "blank" => &[('\t', '\t'), (' ', ' ')],
        "cntrl" => &[('\0', '\x1f'), ('\x7f', '\x7f')],
        "digit" => &[('0', '9')],
        "graph" => &[('!', '~')],
        "lower" => &[('a', 'z')],
        "print" => &[(' ', '~')],
        "punct" => &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')],
        "space" => &[('\t', '\r'), (' ', ' ')],
        "upper" => &[('A', 'Z')],
        "word" => &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')],
        "xdigit" => &[('0', '9'), ('A', 'F'), ('a', 'f')],
        _ => return None,
    };
    Some(finished(from_table(ranges), is_negated, ignore_case))
}

/// What `\p{name}` names, or with `is_negated` `\P{name}`.
pub(super) fn unicode(name: &str, is_negated: bool, ignore_case: bool) -> Option<ClassUnicode> {
    let (name, has_caret) = without_caret(name);
    Some(finished(unicode_table(name)?, is_negated != has_caret, ignore_case))
}

fn without_caret(name: &str) -> (&str, bool) {
    name.strip_prefix('^').map_or((name, false), |rest| (rest, true))
}

fn unicode_table(name: &str) -> Option<ClassUnicode> {
    match name {
        "Any" => Some(any(true)),
        // Go's C has no unassigned code points, and no text has surrogates.
        "Cs" => Some(ClassUnicode::empty()),
        "C" => {
            let mut set = property("gc", "Cc")?;
            set.union(&property("gc", "Cf")?);
            set.union(&property("gc", "Co")?);
            Some(set)
        }
        _ if CATEGORIES.split(' ').any(|category| category == name) => property("gc", name),
        _ if SCRIPTS.split(' ').any(|script| script == name) => property("sc", name),
        _ => None,
    }
}

fn property(kind: &str, name: &str) -> Option<ClassUnicode> {
    let hir = regex_syntax::Parser::new().parse(&format!(r"\p{{{kind}={name}}}")).ok()?;
    match hir.into_kind() {
        HirKind::Class(Class::Unicode(set)) => Some(set),
        // A set of one character.
        HirKind::Literal(literal) => {
            let text = std::str::from_utf8(&literal.0).ok()?;
            Some(ClassUnicode::new(text.chars().map(|c| ClassUnicodeRange::new(c, c))))
        }
        _ => None,
    }
}

fn from_table(ranges: &[(char, char)]) -> ClassUnicode {
    ClassUnicode::new(ranges.iter().map(|&(low, high)| ClassUnicodeRange::new(low, high)))
}

fn finished(mut set: ClassUnicode, is_negated: bool, ignore_case: bool) -> ClassUnicode {
    if ignore_case {
        set.case_fold_simple();
    }
    if is_negated {
        set.negate();
    }
    set
}

/// *Source*: keys of `unicode.Categories`, Go 1.22; `C` and `Cs` are made above.
pub(super) const CATEGORIES: &str =
    "Cc Cf Co L Ll Lm Lo Lt Lu M Mc Me Mn N Nd Nl No P Pc Pd Pe Pf Pi Po Ps S Sc Sk Sm So Z Zl Zp Zs";

/// *Source*: keys of `unicode.Scripts`, Go 1.22 (Unicode 15).
pub(super) const SCRIPTS: &str = "Adlam Ahom Anatolian_Hieroglyphs Arabic Armenian Avestan Balinese Bamum Bassa_Vah Batak Bengali \
    Bhaiksuki Bopomofo Brahmi Braille Buginese Buhid Canadian_Aboriginal Carian Caucasian_Albanian \
    Chakma Cham Cherokee Chorasmian Common Coptic Cuneiform Cypriot Cypro_Minoan Cyrillic Deseret \
    Devanagari Dives_Akuru Dogra Duployan Egyptian_Hieroglyphs Elbasan Elymaic Ethiopic Georgian \
    Glagolitic Gothic Grantha Greek Gujarati Gunjala_Gondi Gurmukhi Han Hangul Hanifi_Rohingya Hanunoo \
    Hatran Hebrew Hiragana Imperial_Aramaic Inherited Inscriptional_Pahlavi Inscriptional_Parthian \
    Javanese Kaithi Kannada Katakana Kawi Kayah_Li Kharoshthi Khitan_Small_Script Khmer Khojki Khudawadi \
    Lao Latin Lepcha Limbu Linear_A Linear_B Lisu Lycian Lydian Mahajani Makasar Malayalam Mandaic \
    Manichaean Marchen Masaram_Gondi Medefaidrin Meetei_Mayek Mende_Kikakui Meroitic_Cursive \
    Meroitic_Hieroglyphs Miao Modi Mongolian Mro Multani Myanmar Nabataean Nag_Mundari Nandinagari \
    New_Tai_Lue Newa Nko Nushu Nyiakeng_Puachue_Hmong Ogham Ol_Chiki Old_Hungarian Old_Italic \
    Old_North_Arabian Old_Permic Old_Persian Old_Sogdian Old_South_Arabian Old_Turkic Old_Uyghur Oriya \
    Osage Osmanya Pahawh_Hmong Palmyrene Pau_Cin_Hau Phags_Pa Phoenician Psalter_Pahlavi Rejang Runic \
    Samaritan Saurashtra Sharada Shavian Siddham SignWriting Sinhala Sogdian Sora_Sompeng Soyombo \
    Sundanese Syloti_Nagri Syriac Tagalog Tagbanwa Tai_Le Tai_Tham Tai_Viet Takri Tamil Tangsa Tangut \
    Telugu Thaana Thai Tibetan Tifinagh Tirhuta Toto Ugaritic Vai Vithkuqi Wancho Warang_Citi Yezidi Yi \
    Zanabazar_Square";
