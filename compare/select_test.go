package compare

import (
	"errors"
	"slices"
	"testing"
)

// A name is suggested only where it is likely to have been meant.
func TestFindNear(t *testing.T) {
	for name, want := range map[string]string{
		"stale-mount-rot":    "stale-mount-root", // a letter left out
		"stale-muont-root":   "stale-mount-root", // two in each other's place
		"stale_mount_root":   "stale-mount-root",
		"Dead-Root":          "dead-root",
		"deadroot":           "dead-root",
		"visitors":           "visitor",
		"stale-mount":        "stale-mount-root", // whole words of the one name that begins so
		"stale":              "stale-mount-root",
		"controller":         "", // two begin so
		"mount":              "", // none begins so
		"stal":               "", // no whole word
		"":                   "",
		"-":                  "",
		"bogus":              "",
		"dead-root,visitor":  "",
		"visitors!!":         "", // three slips
		"\x00\xff":           "",
		"incompletely":       "incomplete",
		"no-cgroup-mounting": "",
	} {
		_, err := Find(name)
		var unknown *UnknownCheckError
		if !errors.As(err, &unknown) || unknown.Name != name || unknown.Near != want {
			t.Errorf("%q: %v, want near %q", name, err, want)
		}
	}
	for _, c := range Checks {
		if got, err := Find(c.Name); err != nil || got.Name != c.Name {
			t.Errorf("%s: %v %v", c.Name, got.Name, err)
		}
	}
}

func TestSelect(t *testing.T) {
	var all []string
	for _, c := range Checks {
		all = append(all, c.Name)
	}
	for _, c := range []struct {
		only, skip, want []string
	}{
		{nil, nil, all},
		{[]string{"visitor", "dead-root", "visitor"}, nil, []string{"dead-root", "visitor"}}, // in their order, once
		{nil, all[:len(all)-2], all[len(all)-2:]},
		{[]string{"visitor", "dead-root"}, []string{"visitor", "incomplete"}, []string{"dead-root"}},
		{[]string{"visitor"}, []string{"visitor"}, nil},
		{nil, all, nil},
	} {
		checks, err := Select(c.only, c.skip)
		var got []string
		for _, check := range checks {
			got = append(got, check.Name)
		}
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%v without %v: %v %v, want %v", c.only, c.skip, got, err, c.want)
		}
	}
	for _, c := range [][2][]string{{{"bogus"}, nil}, {nil, {"bogus"}}, {{"dead-root"}, {"bogus"}}} {
		if checks, err := Select(c[0], c[1]); err == nil || checks != nil {
			t.Errorf("%v: %v", c, checks)
		}
	}
}
