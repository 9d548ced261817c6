//! Source archives: recognised by content, validated in one pass.
