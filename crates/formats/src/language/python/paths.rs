//! The addresses of a Python repository.

use super::Python;
use crate::language::ProjectPaths;

impl ProjectPaths for Python {}
