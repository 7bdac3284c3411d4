package render

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"nsinspect/compare"
	"nsinspect/inspect"
)

// found is a report with n findings of a severity for each "check severity n".
func found(processes, skipped int, findings ...any) *compare.Report {
	r := &compare.Report{Coverage: compare.Coverage{Processes: processes, Namespaces: 1, Skipped: skipped}, Layout: "hybrid"}
	for _, c := range compare.Checks {
		r.Checks = append(r.Checks, compare.CheckResult{Check: c.Name})
	}
	for ; len(findings) > 0; findings = findings[3:] {
		for range findings[2].(int) {
			r.Findings = append(r.Findings, compare.Finding{Check: findings[0].(string), Severity: findings[1].(compare.Severity)})
		}
	}
	return r
}

// only leaves the first n checks of a report.
func only(n int, r *compare.Report) *compare.Report {
	r.Checks = r.Checks[:n]
	return r
}

// leaving says that n checks of a report were left out.
func leaving(n int, r *compare.Report) *compare.Report {
	r.LeftOut = n
	return r
}

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		report *compare.Report
		want   string
	}{
		{found(63, 0), "nothing wrong found"},
		{found(63, 0, "visitor", compare.Info, 2), "nothing wrong found"},
		{found(63, 1, "incomplete", compare.Info, 1), "nothing wrong found, but 1 of 63 processes unseen"},
		{found(1, 1, "incomplete", compare.Info, 1), "unknown: 1 of 1 process unseen"},
		{only(2, found(63, 0)), "nothing wrong found by 2 of 24 checks"},
		{leaving(1, only(2, found(63, 0))), "nothing wrong found by 1 of 24 checks"},
		{leaving(2, found(63, 0)), "nothing wrong found"},
		{only(2, found(63, 1)), "nothing wrong found by 2 of 24 checks, but 1 of 63 processes unseen"},
		{found(63, 1, "stale-mount-root", compare.Error, 1), "1 error: 1 cgroup mount shows the wrong tree"},
		{only(2, found(63, 1, "stale-mount-root", compare.Error, 3)), "3 errors: 3 cgroup mounts show the wrong tree"},
		// A warning is no error, but only of what was seen.
		{found(63, 0, "stale-mount-root", compare.Warning, 1), "1 warning: 1 cgroup mount shows the wrong tree"},
		{found(63, 1, "foreign-mount-root", compare.Warning, 1), "1 warning: 1 cgroup mount shows a neighbour's tree; 1 of 63 not seen"},
		// Of several kinds as many as there is room for, the gravest first.
		{
			found(63, 0, "dead-root", compare.Error, 1, "stale-mount-root", compare.Error, 1, "visitor", compare.Info, 1),
			"2 errors: 1 cgroup namespace root was removed, and 1 more kind",
		},
		{
			found(63, 0, "dead-root", compare.Error, 1, "stale-mount-root", compare.Error, 1, "foreign-mount-root", compare.Warning, 1),
			"2 errors, 1 warning: 1 cgroup namespace root was removed, and 2 more kinds",
		},
		{
			found(63, 0, "dead-root", compare.Error, 2, "cgroup-driver-mismatch", compare.Error, 1),
			"3 errors: 2 cgroup namespace roots were removed, 1 mix of cgroup drivers",
		},
		{
			found(63, 0, "dead-root", compare.Error, 1, "cgroup-driver-mismatch", compare.Warning, 1),
			"1 error, 1 warning: 1 cgroup namespace root was removed, 1 mix of cgroup drivers",
		},
	} {
		if got := verdict(c.report); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
		var text, document strings.Builder
		if err := errors.Join(DoctorText(&text, c.report, Options{}), DoctorJSON(&document, c.report)); err != nil {
			t.Fatal(err)
		}
		var told struct{ Verdict string }
		if err := json.Unmarshal([]byte(document.String()), &told); err != nil {
			t.Fatal(err)
		}
		if line, _, _ := strings.Cut(text.String(), "\n"); line != c.want || told.Verdict != c.want {
			t.Errorf("as text it is %q and as JSON %q, want %q", line, told.Verdict, c.want)
		}
	}
}

// TestVerdictFits holds the first line's length, whatever was found, on hosts of
// any size.
func TestVerdictFits(t *testing.T) {
	for _, a := range compare.Checks {
		for _, b := range compare.Checks {
			for _, n := range []int{1, 120} {
				for _, severity := range []compare.Severity{compare.Error, compare.Warning} {
					r := found(4194304, 4194303, a.Name, severity, n, b.Name, compare.Warning, n)
					if line := verdict(r); len(line) > 80 || len(line) < 8 {
						t.Errorf("%d bytes: %s", len(line), line)
					}
				}
			}
		}
	}
	for n := range compare.Checks {
		if line := verdict(only(n+1, found(4194304, 4194303))); len(line) > 80 {
			t.Errorf("%d bytes: %s", len(line), line)
		}
	}
}

func TestCoverage(t *testing.T) {
	for _, c := range []struct {
		ns              uint64
		skipped         int
		checks, leftOut int
		want            string
	}{
		{inspect.InitialCgroupNS, 0, 24, 0, "3 processes in 1 cgroup namespace, layout hybrid, 24 checks; nsinspect's own cgroup namespace is 4026531835 (initial)"},
		{4026532611, 1, 2, 0, "2 of 3 processes looked at, in 1 cgroup namespace, layout hybrid, 2 of 24 checks; nsinspect's own cgroup namespace is 4026532611"},
		{4026532611, 1, 24, 2, "2 of 3 processes looked at, in 1 cgroup namespace, layout hybrid, 22 of 24 checks (left out: 2 of the host as a whole); nsinspect's own cgroup namespace is 4026532611"},
		{0, 2, 24, 0, "1 of 3 processes looked at, in 1 cgroup namespace, layout hybrid, 24 checks; nsinspect's own cgroup namespace is not known"},
	} {
		r := leaving(c.leftOut, only(c.checks, found(3, c.skipped)))
		r.Reader = inspect.Reader{CgroupNS: c.ns}
		if got := coverage(r); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	if len(compare.Checks) != 24 {
		t.Fatal(fmt.Sprint(len(compare.Checks)), "checks: the lines above have to be written anew")
	}
}
