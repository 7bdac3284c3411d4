package printable

import "testing"

// TestIs has what may be printed and pasted as it is, at its edges.
func TestIs(t *testing.T) {
	for text, want := range map[string]bool{
		"/sys/fs/cgroup": true, "/a b'\"$(x)": true, "/é\u00a0\u4e00": true, "/a\u200d": true, "": true, "\ufffd": true,
		"/\x00": false, "/\x1b[31m": false, "/\t": false, "/\x7f": false, "/\u0080": false, "/\u009f": false, "/\xff": false, "/\xc3": false,
		"/\u061c": false, "/\u200e": false, "/\u200f": false, "/\u2027": true, "/\u2028": false, "/\u202e": false, "/\u202f": true,
		"/\u2065": true, "/\u2066": false, "/\u2069": false, "/\u206a": true, "/\ufeff": false, "\n": false,
	} {
		if got := Is(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestEscapes(t *testing.T) {
	for s, want := range map[string][2]string{
		"":                  {"", ""},
		"a b":               {"a b", `a\040b`},
		"\x1b[31m":          {`\033[31m`, `\033[31m`},
		"a\nb":              {`a\012b`, `a\012b`},
		"\u202e":            {`\342\200\256`, `\342\200\256`},
		"\xffé\xc3":         {`\377é\303`, `\377é\303`},
		`back\040slash "q"`: {`back\040slash "q"`, `back\040slash\040"q"`},
	} {
		if got := Text(s); got != want[0] {
			t.Errorf("Text(%q) is %q", s, got)
		}
		if got := Word(s); got != want[1] {
			t.Errorf("Word(%q) is %q", s, got)
		}
	}
}
