// Package docs holds the pages of this directory that the program tells too.
package docs

import _ "embed"

// Checks is checks.md: a section for each check.
//
//go:embed checks.md
var Checks string
