//! The text index `PACKAGES`: rendered, compressed, and read from an upstream.
