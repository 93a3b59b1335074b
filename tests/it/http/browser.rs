//! The page in a real browser: it renders, no script runs, it fits a phone, and all of it can be read.
//! Needs Chromium; without it these tests fail.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use iptables_monitor::telemetry::page::content_security_policy;
use serde_json::Value;

use super::page::{html, html_of, html_with};
use super::{Server, drops, samples};

#[derive(Clone, Copy, Debug)]
enum Scheme {
    Dark = 0,
    Light = 1,
}

/// What a browser made of a page.
struct Browsed {
    dom: String,
    log: String,
}

fn browse(url: &str, scheme: Scheme) -> Browsed {
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new("timeout")
        .args(["120", "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        .args(["--no-first-run", "--disable-background-networking", "--enable-logging=stderr"])
        .args(["--virtual-time-budget=1500", "--window-size=1400,1000", "--dump-dom"])
        .arg(format!("--blink-settings=preferredColorScheme={}", scheme as u8))
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(url)
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let dom = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && dom.contains("</html>"),
        "Chromium (package chromium) says: {log}\n{dom}"
    );
    Browsed { dom, log }
}

impl Browsed {
    /// What the policy refused, as the browser's console tells it.
    fn refused(&self) -> Vec<&str> {
        self.log.lines().filter(|line| line.contains("Content Security Policy")).collect()
    }
}

/// Serves one page with one policy until the test process ends.
fn serve_once_more(html: String, policy: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 8_192]);
            let length = html.len();
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n");
            let _ = write!(stream, "Content-Security-Policy: {policy}\r\nContent-Length: {length}\r\n");
            let _ = write!(stream, "Connection: close\r\n\r\n{html}");
        }
    });
    address
}

#[test]
fn the_served_page_renders_and_nothing_in_it_runs() {
    let server = Server::with(samples::hostile());
    server.shared.show_drops(drops::followed(drops::hostile()));
    let browsed = browse(&format!("http://{}/", server.address), Scheme::Light);
    assert!(browsed.dom.contains("<h1 id=\"verdict\">Violations</h1>"), "{}", browsed.dom);
    assert!(!browsed.dom.contains("<script") && !browsed.dom.contains("<img"), "{}", browsed.dom);
    assert!(!browsed.dom.contains("<title>ran"), "{}", browsed.dom);
    assert!(browsed.refused().is_empty(), "the style sheet or icon was refused: {:?}", browsed.refused());
}

#[test]
fn the_policy_stops_a_script_that_escaping_would_have_missed() {
    let script = "<script>document.title='ran'</script></body>";
    let page = html(Some(&samples::good()), false).replace("</body>", script);
    let policy = content_security_policy();
    let guarded = browse(&format!("http://{}/", serve_once_more(page.clone(), policy)), Scheme::Light);
    assert!(guarded.dom.contains("<title>Compliant: node-7</title>"), "{}", guarded.dom);
    assert!(!guarded.refused().is_empty(), "{}", guarded.log);
    let unguarded =
        browse(&format!("http://{}/", serve_once_more(page, "img-src 'self' data:")), Scheme::Light);
    assert!(
        unguarded.dom.contains("<title>ran</title>"),
        "this browser runs no scripts at all: {}",
        unguarded.dom
    );
}

/// Looks at every frame: does it overflow, which text has the least contrast to what is behind it, how dark is it?
///
/// *Source*: WCAG 2.2, "relative luminance" and "contrast ratio".
const AUDIT: &str = r#"<pre id="audit"></pre><script>
const channels = text => text.match(/[\d.]+/g).map(Number);
const luminance = text => channels(text).slice(0, 3)
  .map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
  .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
function behind(view, element) {
  for (; element; element = element.parentElement) {
    const color = view.getComputedStyle(element).backgroundColor;
    if ((channels(color)[3] ?? 1) > 0) return color;
  }
  return 'rgb(255, 255, 255)';
}
function look(frame) {
  const view = frame.contentWindow, page = frame.contentDocument, root = page.documentElement;
  const walker = page.createTreeWalker(page.body, NodeFilter.SHOW_TEXT);
  let worst = { contrast: 99 }, texts = 0;
  while (walker.nextNode()) {
    if (!walker.currentNode.data.trim()) continue;
    const element = walker.currentNode.parentElement;
    const pair = [luminance(view.getComputedStyle(element).color), luminance(behind(view, element))].sort();
    const [dark, light] = pair.sort((a, b) => a - b);
    const contrast = (light + 0.05) / (dark + 0.05);
    texts += 1;
    if (contrast < worst.contrast) worst = { contrast, text: walker.currentNode.data.slice(0, 60) };
  }
  return { texts, worst, width: frame.clientWidth, overflow: root.scrollWidth - root.clientWidth,
    luminance: luminance(view.getComputedStyle(page.body).backgroundColor) };
}
window.onload = () => {
  document.getElementById('audit').textContent = JSON.stringify([...document.querySelectorAll('iframe')].map(look));
};
</script>"#;

fn audited(pages: &[String], scheme: Scheme) -> Vec<Value> {
    let mut wrapper = String::from(
        "<!DOCTYPE html><html><head><meta name=\"color-scheme\" content=\"light dark\"></head><body>",
    );
    for (page, width) in pages.iter().flat_map(|page| [(page, 360), (page, 1_280)]) {
        let page = page.replace('&', "&amp;").replace('"', "&quot;");
        wrapper.push_str(&format!(
            "<iframe width=\"{width}\" height=\"700\" frameborder=\"0\" srcdoc=\"{page}\"></iframe>"
        ));
    }
    wrapper.push_str(AUDIT);
    wrapper.push_str("</body></html>");
    let browsed = browse(&format!("http://{}/", serve_once_more(wrapper, "img-src 'self' data:")), scheme);
    let (_, found) = browsed.dom.split_once("<pre id=\"audit\">").expect("the audit");
    let (found, _) = found.split_once("</pre>").expect("its end");
    let found = found.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    serde_json::from_str(&found).unwrap_or_else(|error| panic!("{error}: {found}\n{}", browsed.log))
}

#[test]
fn every_page_fits_a_phone_and_can_be_read_in_both_schemes() {
    let reports = [samples::empty(), samples::good(), samples::bad(), samples::unknown(), samples::hostile()];
    let mut pages: Vec<_> = reports.iter().map(|report| html(Some(report), false)).collect();
    let lives = [samples::quiet(), samples::hostile_live()];
    pages.extend(lives.iter().map(|live| html_with(Some(&samples::good()), live, false, true)));
    let seen = [drops::none(), drops::some(), drops::hostile()];
    pages.extend(
        seen.iter().map(|seen| html_of(Some(&samples::good()), &samples::quiet(), Some(seen), false, true)),
    );
    let only = drops::only(drops::some());
    pages.extend([html_of(None, &samples::quiet(), Some(&only), false, false)]);
    pages.extend([html(None, false), html(None, true), html(Some(&samples::good()), true)]);
    for scheme in [Scheme::Light, Scheme::Dark] {
        let found = audited(&pages, scheme);
        assert_eq!(found.len(), pages.len() * 2);
        for page in found {
            assert!(page["texts"].as_u64() > Some(5), "{scheme:?} {page}");
            assert_eq!(page["overflow"], 0, "{scheme:?} {page}");
            assert!(page["worst"]["contrast"].as_f64() >= Some(4.5), "{scheme:?} {page}");
            let is_dark = page["luminance"].as_f64() < Some(0.1);
            assert_eq!(is_dark, matches!(scheme, Scheme::Dark), "{scheme:?} {page}");
        }
    }
}

#[test]
fn the_audit_finds_faults() {
    let faulty = "<!DOCTYPE html><html><body style='background:#fff'><p style='color:#999'>pale</p>\
                  <p style='width:900px'>wide</p></body></html>";
    let found = audited(&[faulty.to_owned()], Scheme::Light);
    assert!(found[0]["overflow"].as_i64() > Some(500), "{found:?}");
    assert!(found[0]["worst"]["contrast"].as_f64() < Some(3.0), "{found:?}");
    assert_eq!(found[1]["overflow"], 0, "{found:?}");
}
