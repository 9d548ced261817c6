//! Identifiers of SPDX for the licenses of Python packages: an expression (PEP 639), classifiers, or free text.

use base::model::license::Licenses;
use base::model::license_expression::LicenseExpression;

/// Classifiers with their SPDX identifiers, without the prefixes `License :: ` and `OSI Approved :: `. Ambiguous ones,
/// such as `BSD License`, are left out (PEP 639, appendix "Mapping License Classifiers to SPDX Identifiers"), except
/// those commonly used for one license, such as `Apache Software License` for version 2.0.
const CLASSIFIERS: &[(&str, &str)] = &[
    ("Apache Software License", "Apache-2.0"),
    ("Blue Oak Model License (BlueOak-1.0.0)", "BlueOak-1.0.0"),
    ("Boost Software License 1.0 (BSL-1.0)", "BSL-1.0"),
    ("CC0 1.0 Universal (CC0 1.0) Public Domain Dedication", "CC0-1.0"),
    ("CEA CNRS Inria Logiciel Libre License, version 2.1 (CeCILL-2.1)", "CECILL-2.1"),
    ("CeCILL-B Free Software License Agreement (CECILL-B)", "CECILL-B"),
    ("CeCILL-C Free Software License Agreement (CECILL-C)", "CECILL-C"),
    ("Common Development and Distribution License 1.0 (CDDL-1.0)", "CDDL-1.0"),
    ("Common Public License", "CPL-1.0"),
    ("Eclipse Public License 1.0 (EPL-1.0)", "EPL-1.0"),
    ("Eclipse Public License 2.0 (EPL-2.0)", "EPL-2.0"),
    ("European Union Public Licence 1.0 (EUPL 1.0)", "EUPL-1.0"),
    ("European Union Public Licence 1.1 (EUPL 1.1)", "EUPL-1.1"),
    ("European Union Public Licence 1.2 (EUPL 1.2)", "EUPL-1.2"),
    ("GNU Affero General Public License v3", "AGPL-3.0-only"),
    ("GNU Affero General Public License v3 or later (AGPLv3+)", "AGPL-3.0-or-later"),
    ("GNU General Public License (GPL)", "GPL-2.0-or-later"),
    ("GNU General Public License v2 (GPLv2)", "GPL-2.0-only"),
    ("GNU General Public License v2 or later (GPLv2+)", "GPL-2.0-or-later"),
    ("GNU General Public License v3 (GPLv3)", "GPL-3.0-only"),
    ("GNU General Public License v3 or later (GPLv3+)", "GPL-3.0-or-later"),
    ("GNU Lesser General Public License v2 (LGPLv2)", "LGPL-2.0-only"),
    ("GNU Lesser General Public License v2 or later (LGPLv2+)", "LGPL-2.0-or-later"),
    ("GNU Lesser General Public License v3 (LGPLv3)", "LGPL-3.0-only"),
    ("GNU Lesser General Public License v3 or later (LGPLv3+)", "LGPL-3.0-or-later"),
    ("GNU Library or Lesser General Public License (LGPL)", "LGPL-2.0-or-later"),
    ("Historical Permission Notice and Disclaimer (HPND)", "HPND"),
    ("ISC License (ISCL)", "ISC"),
    ("MIT License", "MIT"),
    ("MIT No Attribution License (MIT-0)", "MIT-0"),
    ("Mozilla Public License 1.0 (MPL)", "MPL-1.0"),
    ("Mozilla Public License 1.1 (MPL 1.1)", "MPL-1.1"),
    ("Mozilla Public License 2.0 (MPL 2.0)", "MPL-2.0"),
    ("Mulan Permissive Software License v2 (MulanPSL-2.0)", "MulanPSL-2.0"),
    ("Open Software License 3.0 (OSL-3.0)", "OSL-3.0"),
    ("PostgreSQL License", "PostgreSQL"),
    ("Python Software Foundation License", "PSF-2.0"),
    ("SIL Open Font License 1.1 (OFL-1.1)", "OFL-1.1"),
    ("The Unlicense (Unlicense)", "Unlicense"),
    ("Universal Permissive License (UPL)", "UPL-1.0"),
    ("University of Illinois/NCSA Open Source License", "NCSA"),
    ("Zero-Clause BSD (0BSD)", "0BSD"),
    ("zlib/libpng License", "Zlib"),
];

/// Returns the licenses of a release: from the license expression; otherwise from the classifiers, whose relation is
/// unknown if there are several; otherwise from the field `License`, if it is an expression.
pub fn licenses(expression: Option<&str>, classifiers: &[String], license: Option<&str>) -> Licenses {
    if let Some(text) = expression {
        return of_expression(text);
    }
    let classifiers = classifiers.iter().filter_map(|text| text.strip_prefix("License :: "));
    let mut names: Vec<&str> =
        classifiers.map(|name| name.strip_prefix("OSI Approved :: ").unwrap_or(name)).collect();
    names.retain(|name| *name != "OSI Approved");
    match names.as_slice() {
        [] => license.map(of_expression).unwrap_or_default(),
        [name] => Licenses::of_alternatives([of_classifier(name)]),
        names => {
            let ids = names.iter().map(|name| of_classifier(name));
            Licenses::new(None, ids.map(|id| id.unwrap_or_else(|| base::model::license::UNKNOWN.to_owned())))
        }
    }
}

fn of_expression(text: &str) -> Licenses {
    let expression = text.trim().parse::<LicenseExpression>();
    let licenses = expression.map(|expression| {
        let ids = expression.ids().map(str::to_owned).collect::<Vec<_>>();
        Licenses::new(Some(expression.to_string()), ids)
    });
    licenses.unwrap_or_default()
}

fn of_classifier(name: &str) -> Option<String> {
    CLASSIFIERS.iter().find(|(known, _)| *known == name).map(|(_, id)| (*id).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::model::license::identifier;

    fn licenses(expression: Option<&str>, classifiers: &[&str], license: Option<&str>) -> (String, String) {
        let classifiers: Vec<String> = classifiers.iter().map(|text| (*text).to_owned()).collect();
        let licenses = super::licenses(expression, &classifiers, license);
        (licenses.expression().unwrap_or_default().to_owned(), licenses.types().join(", "))
    }

    #[test]
    fn the_expression_precedes_classifiers_and_these_the_text() {
        let (mit, gpl) = ("License :: OSI Approved :: MIT License", "License :: OSI Approved");
        for (metadata, expression, types) in [
            (
                (Some("mit or Apache-2.0 with LLVM-exception"), &[gpl][..], Some("GPL")),
                "MIT OR Apache-2.0 WITH LLVM-exception",
                "Apache-2.0, MIT",
            ),
            ((Some("MIT License"), &[mit][..], None), "", "Unknown"),
            ((None, &[mit, gpl, "Topic :: Utilities"][..], Some("BSD")), "MIT", "MIT"),
            ((None, &[mit, "License :: OSI Approved :: ISC License (ISCL)"][..], None), "", "ISC, MIT"),
            ((None, &[mit, "License :: Other/Proprietary License"][..], None), "", "MIT, Unknown"),
            ((None, &["License :: OSI Approved :: BSD License"][..], Some("MIT")), "", "Unknown"),
            ((None, &[][..], Some(" bsd-3-clause ")), "BSD-3-Clause", "BSD-3-Clause"),
            ((None, &[][..], Some("Copyright 2026\nAll rights")), "", "Unknown"),
            ((None, &[][..], None), "", "Unknown"),
        ] {
            let (field, classifiers, license) = metadata;
            let expected = (expression.to_owned(), types.to_owned());
            assert_eq!(
                licenses(field, classifiers, license),
                expected,
                "{field:?} {classifiers:?} {license:?}"
            );
        }
    }

    #[test]
    fn every_identifier_of_the_table_is_one_of_spdx() {
        for (name, id) in CLASSIFIERS {
            assert_eq!(identifier(id), Some(*id), "{name}");
        }
        assert!(CLASSIFIERS.is_sorted_by_key(|(name, _)| name.to_lowercase()));
    }
}
