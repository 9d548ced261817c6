//! Python packages in a bundle.

use super::Python;
use crate::language::ProjectBundle;

impl ProjectBundle for Python {}
