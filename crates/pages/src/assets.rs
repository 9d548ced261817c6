//! The style sheet, script and icon of the pages (`static/`), and the content security policy for the script.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libdeflater::{CompressionLvl, Compressor};
use maud::html;
use sha2::Digest as _;

pub struct Asset {
    /// The name with 16 hexadecimal digits of its digest: `ui.0123456789abcdef.css`.
    pub file: String,
    /// `Content-Type`.
    pub media_type: &'static str,
    pub content: &'static [u8],
    /// The bytes in gzip, if that is shorter.
    pub compressed: Option<Vec<u8>>,
    /// SHA-256 of the bytes.
    pub digest: [u8; 32],
    stem: &'static str,
    extension: &'static str,
}

impl Asset {
    fn new(
        stem: &'static str,
        extension: &'static str,
        media_type: &'static str,
        content: &'static [u8],
    ) -> Asset {
        let digest: [u8; 32] = sha2::Sha256::digest(content).into();
        let compressed = gzip(content, 12).filter(|compressed| compressed.len() < content.len());
        let file = format!("{stem}.{}.{extension}", hex::encode(&digest[..8]));
        Asset { file, media_type, content, compressed, digest, stem, extension }
    }

    pub fn path(&self) -> String {
        format!("assets/{}", self.file)
    }

    /// Returns the digest in the form of the attribute `integrity` and of a policy: `sha256-…`.
    pub fn integrity(&self) -> String {
        format!("sha256-{}", STANDARD.encode(self.digest))
    }

    /// Returns whether a name is that of this file, with the digest of any version of the server.
    fn has_name(&self, name: &str) -> bool {
        let digits = name.strip_prefix(self.stem).and_then(|rest| rest.strip_suffix(self.extension));
        let digits = digits.and_then(|rest| rest.strip_prefix('.')?.strip_suffix('.'));
        digits.is_some_and(|digits| digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
    }
}

pub struct Assets {
    pub style: Asset,
    /// The script; all pages work without it.
    pub script: Asset,
    pub icon: Asset,
    /// The icon for browsers that request `/favicon.ico`.
    pub favicon: Asset,
}

static ASSETS: LazyLock<Assets> = LazyLock::new(|| Assets {
    style: Asset::new("ui", "css", "text/css; charset=utf-8", include_bytes!("static/ui.css")),
    script: Asset::new("ui", "js", "text/javascript; charset=utf-8", include_bytes!("static/ui.js")),
    icon: Asset::new("icon", "svg", "image/svg+xml", include_bytes!("static/icon.svg")),
    favicon: Asset::new("favicon", "ico", "image/vnd.microsoft.icon", include_bytes!("static/favicon.ico")),
});

pub fn assets() -> &'static Assets {
    &ASSETS
}

/// Returns the asset with a name below `/assets/`, and whether the name has the current digest: pages of
/// other versions of the server request other digests, and get the current content.
pub fn find(name: &str) -> Option<(&'static Asset, bool)> {
    let Assets { style, script, icon, favicon } = assets();
    let asset = [style, script, icon, favicon].into_iter().find(|asset| asset.has_name(name))?;
    Some((asset, asset.file == name))
}

/// Returns the content security policy of all pages: no inline script or style, nothing from other hosts, no
/// frame. Only the asset with this digest is executed, never a file of a package.
pub fn policy() -> String {
    format!(
        "default-src 'none'; script-src '{}'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; \
         base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
        assets().script.integrity()
    )
}

/// Returns the description of the search of this server (OpenSearch 1.1); `base` is its URL, without a slash at the end.
pub fn open_search(base: &str) -> String {
    let document = html! {
        OpenSearchDescription xmlns="http://a9.com/-/spec/opensearch/1.1/" {
            ShortName { "rstudio-pm" }
            Description { "Packages of " (base) }
            InputEncoding { "UTF-8" }
            Image width="16" height="16" type="image/svg+xml" { (base) "/" (assets().icon.path()) }
            Url type="text/html" template={ (base) "/?q={searchTerms}" } {}
        }
    };
    document.into_string()
}

/// Compresses bytes at a level from 1 to 12, without a time, so that equal bytes give equal results.
pub fn gzip(plain: &[u8], level: i32) -> Option<Vec<u8>> {
    let mut compressor = Compressor::new(CompressionLvl::new(level).ok()?);
    let mut bytes = vec![0; compressor.gzip_compress_bound(plain.len())];
    let size = compressor.gzip_compress(plain, &mut bytes).ok()?;
    bytes.truncate(size);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the relative luminance of `#rrggbb` (WCAG 2.2).
    fn luminance(colour: &str) -> f64 {
        let channel = |at: usize| {
            let value = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).expect("hexadecimal")) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
    }

    fn contrast(a: &str, b: &str) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    /// Returns a color of a theme: 0 is the light one, 1 the dark one, which the style sheet defines second.
    fn colour(name: &str, theme: usize) -> &'static str {
        let css = std::str::from_utf8(assets().style.content).expect("UTF-8");
        let definition = format!("--{name}: ");
        let found = css.split(definition.as_str()).nth(theme + 1).expect(name);
        &found[..7]
    }

    #[test]
    fn text_and_controls_have_the_contrast_of_wcag_in_both_themes() {
        for theme in [0, 1] {
            for background in ["page", "panel"] {
                let background = colour(background, theme);
                for name in ["text", "muted", "action", "change", "danger", "ok"] {
                    let ratio = contrast(colour(name, theme), background);
                    assert!(ratio >= 4.5, "{name} on {background}: {ratio}");
                }
                assert!(contrast(colour("control", theme), background) >= 3.0);
            }
            assert!(contrast(colour("on-action", theme), colour("action", theme)) >= 4.5);
        }
    }

    #[test]
    fn assets_are_small_and_have_the_name_of_their_content() {
        let Assets { style, script, icon, favicon } = assets();
        for (asset, limit) in [(style, 12_000), (script, 8_000), (icon, 4_000), (favicon, 4_000)] {
            let size = asset.compressed.as_ref().map_or(asset.content.len(), Vec::len);
            assert!(size <= limit, "{}: {size}", asset.file);
            assert!(find(&asset.file).is_some_and(|(_, current)| current));
        }
        let old = format!("ui.{}.css", "0".repeat(16));
        assert!(find(&old).is_some_and(|(asset, current)| asset.extension == "css" && !current));
        for name in ["", "ui.css", "ui..css", "ui.0123456789abcdeg.css", "ui.0123456789abcdef.svg", "x"] {
            assert!(find(name).is_none(), "{name}");
        }
    }

    #[test]
    fn neither_asset_names_another_host() {
        for asset in [&assets().style, &assets().script] {
            let text = std::str::from_utf8(asset.content).expect("UTF-8");
            assert!(!text.contains("://") && !text.contains("innerHTML"), "{}", asset.file);
        }
    }
}
