package render

import (
	"strings"
	"testing"

	"nsinspect/compare"
	"nsinspect/inspect"
)

// remounts are plans and results with the text that they have to give, and the
// outcome that JSON has.
var remounts = []struct {
	name, outcome, text string
	wide                bool
	view                Remount
}{
	{name: "nothing", outcome: "nothing", view: Remount{Mounts: []RemountMount{healthy}}, text: `
nothing to mend
70 sh (root): cgroup namespace 5, mount namespace 6
1 cgroup mount is as it should be
`},
	{name: "nothing, wide", outcome: "nothing", wide: true, view: Remount{Mounts: []RemountMount{healthy}}, text: `
nothing to mend
70 sh (root): cgroup namespace 5, mount namespace 6

ID  CONTROLLERS  MOUNT POINT  BEFORE  AFTER  ACTION
0   unified      /u           /       /      keep
`},
	{name: "a plan", outcome: "planned", view: Remount{Mounts: []RemountMount{healthy, planned}}, text: `
1 cgroup mount can be mended; nothing is changed without --apply
70 sh (root): cgroup namespace 5, mount namespace 6

ID  CONTROLLERS  MOUNT POINT  BEFORE  AFTER  ACTION
6   freezer      /f           /..     /      replace
1 more cgroup mount is as it should be

/f
  make a fresh mount
  move it there
`},
	{name: "kept though it is not healthy", outcome: "nothing", view: Remount{Mounts: []RemountMount{meant}}, text: `
nothing to mend
70 sh (root): cgroup namespace 5, mount namespace 6

ID  CONTROLLERS  MOUNT POINT  BEFORE  AFTER  ACTION
6   freezer      /wide        /..     /..    keep

/wide
  it may be meant
`},
	{name: "all refused", outcome: "refused", view: Remount{
		Refusal: "others use it", Hint: "give it its own",
		Sharers: []RemountSharer{{80, "a b\x1b", 4}, {90, "", 0}},
		Mounts:  []RemountMount{with(planned, func(m *RemountMount) { m.Action, m.Reason, m.Steps = "refuse", "others use it", nil })},
	}, text: `
refused: 1 cgroup mount stays as it is
70 sh (root): cgroup namespace 5, mount namespace 6

why:     others use it
instead: give it its own

PID  COMMAND     CGROUP NS
80   a\040b\033  4
90   -           unknown

ID  CONTROLLERS  MOUNT POINT  BEFORE  AFTER  ACTION
6   freezer      /f           /..     /..    refuse
`},
	{name: "one refused, one planned", outcome: "refused", view: Remount{Mounts: []RemountMount{planned, refused}}, text: `
refused: 1 cgroup mount stays as it is; 1 can be mended
70 sh (root): cgroup namespace 5, mount namespace 6

ID  CONTROLLERS  MOUNT POINT  BEFORE  AFTER  ACTION
6   freezer      /f           /..     /      replace
6   freezer      /x           /../y   /../y  refuse

/f
  make a fresh mount
  move it there

/x
  it may be meant
`},
	{name: "could not look", outcome: "refused", view: Remount{Refusal: "setns: not permitted", Hint: "run it as root"}, text: `
refused: what there is to mend could not be looked at
70 sh (root): cgroup namespace 5, mount namespace 6

why:     setns: not permitted
instead: run it as root
`},
	{name: "mended", outcome: "mended", view: Remount{Applied: true, Notes: []string{"it is a container's"}, Mounts: []RemountMount{healthy, mended}}, text: `
1 cgroup mount mended
70 sh (root): cgroup namespace 5, mount namespace 6

ID  CONTROLLERS  MOUNT POINT  BEFORE  AFTER  STATE
6   freezer      /f           /..     /      mended
1 more cgroup mount is as it should be

/f
  note: its parent is a slave now

note: it is a container's
`},
	{name: "failed", outcome: "failed", view: Remount{Applied: true, Mounts: []RemountMount{
		mended, refused,
		with(mended, func(m *RemountMount) {
			m.MountPoint, m.State, m.After, m.Error, m.Hint, m.Notes = "/g\n", "restored", &RemountAfter{9, "/..", compare.VerdictStale}, "cannot move", "try again", nil
		}),
		with(mended, func(m *RemountMount) {
			m.MountPoint, m.State, m.After, m.Error, m.Notes = "/h", "lost", nil, "cannot put back", nil
		}),
	}}, text: `
failed: 2 cgroup mounts not mended; 1 mended
70 sh (root): cgroup namespace 5, mount namespace 6

ID  CONTROLLERS  MOUNT POINT  BEFORE  AFTER  STATE
6   freezer      /f           /..     /      mended
6   freezer      /x           /../y   /../y  refuse
6   freezer      /g\012       /..     /..    restored
6   freezer      /h           /..     ?      lost

/f
  note: its parent is a slave now

/x
  it may be meant

/g\012
  cannot move
  do: try again

/h
  cannot put back
`},
}

var (
	freezer = &inspect.Hierarchy{ID: 6, Controllers: []string{"freezer"}, Label: "freezer"}
	unified = &inspect.Hierarchy{Label: "unified"}
	healthy = RemountMount{Hierarchy: unified, MountID: 1, MountPoint: "/u", NamespaceRoot: "/", Verdict: compare.VerdictOK, Action: "keep"}
	planned = RemountMount{Hierarchy: freezer, MountID: 2, MountPoint: "/f", NamespaceRoot: "/..", Verdict: compare.VerdictStale, Action: "replace", Steps: []string{"make a fresh mount", "move it there"}}
	meant   = RemountMount{Hierarchy: freezer, MountID: 3, MountPoint: "/wide", NamespaceRoot: "/..", Verdict: compare.VerdictStale, Action: "keep", Reason: "it may be meant"}
	refused = RemountMount{Hierarchy: freezer, MountID: 4, MountPoint: "/x", NamespaceRoot: "/../y", Verdict: compare.VerdictForeign, Action: "refuse", Reason: "it may be meant"}
	mended  = with(planned, func(m *RemountMount) {
		m.State, m.After, m.Notes = "mended", &RemountAfter{8, "/", compare.VerdictOK}, []string{"its parent is a slave now"}
	})
)

func with(m RemountMount, change func(*RemountMount)) RemountMount {
	change(&m)
	return m
}

func TestRemountText(t *testing.T) {
	for _, c := range remounts {
		c.view.Process = inspect.Process{Task: inspect.Task{PID: 70, TID: 70, CgroupNS: 5, MntNS: 6}, Command: "sh", User: "root"}
		var b strings.Builder
		if err := RemountText(&b, &c.view, Options{Wide: c.wide}); err != nil {
			t.Fatal(err)
		}
		if got, want := b.String(), strings.TrimPrefix(c.text, "\n"); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, got, want)
		}
		if _, outcome := c.view.tally(); outcome != c.outcome {
			t.Errorf("%s: outcome %s, want %s", c.name, outcome, c.outcome)
		}
	}
}

// Of many whom mending would hurt the first few are listed, with Wide all.
func TestRemountManySharers(t *testing.T) {
	view := Remount{Refusal: "others use it", Hint: "give it its own"}
	for pid := 101; pid <= 112; pid++ {
		view.Sharers = append(view.Sharers, RemountSharer{PID: pid, Command: "sh", CgroupNS: 4})
	}
	for wide, want := range map[bool][]string{false: {"110  sh", "2 more: -o wide shows them"}, true: {"110  sh", "112  sh"}} {
		var b strings.Builder
		if err := RemountText(&b, &view, Options{Wide: wide}); err != nil {
			t.Fatal(err)
		}
		for _, text := range want {
			if !strings.Contains(b.String(), "\n"+text) {
				t.Errorf("no %q in\n%s", text, b.String())
			}
		}
		if strings.Contains(b.String(), "\n111 ") != wide || strings.Contains(b.String(), "more:") == wide {
			t.Errorf("wide %v:\n%s", wide, b.String())
		}
	}
}

// The first line is short whatever there is to count.
func TestRemountFirstLine(t *testing.T) {
	for _, outcome := range []string{outcomeNothing, outcomePlanned, outcomeMended, outcomeRefused, outcomeFailed} {
		for _, n := range []int{0, 1, 99999} {
			for _, applied := range []bool{false, true} {
				if line := remountVerdict(tally{n, n, n}, outcome, applied); len(line) > firstLine || line == "" {
					t.Errorf("%q has %d bytes", line, len(line))
				}
			}
		}
	}
}
