package inspect

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// statTail is what follows the command name: state S, parent 7, flags 0x400000,
// start time 123456.
const statTail = " S 7 42 42 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 123456 1000 200 18446744073709551615 0 0 0\n"

func TestParseStat(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       Process
	}{
		{"plain", "42 (cat)" + statTail, Process{Command: "cat"}},
		{"no name", "42 ()" + statTail, Process{Command: ""}},
		{"blanks", "42 (a b  c)" + statTail, Process{Command: "a b  c"}},
		{"parentheses", "42 (((sd-pam)))" + statTail, Process{Command: "((sd-pam))"}},
		{"only parentheses", "42 ()()" + statTail, Process{Command: ")("}},
		{"newline", "42 (a\nb)" + statTail, Process{Command: "a\nb"}},
		{"what looks like the rest", "42 (x) R 1 1 1)" + statTail, Process{Command: "x) R 1 1 1"}},
		{"escape sequence and invalid UTF-8", "42 (\x1b[31m\xff)" + statTail, Process{Command: "\x1b[31m\xff"}},
		{"no newline at the end", "42 (cat)" + strings.TrimSuffix(statTail, "\n"), Process{Command: "cat"}},
		{"a kernel thread", "42 (kthreadd)" + strings.Replace(statTail, "4194304", "2129984", 1), Process{Command: "kthreadd", Kernel: true}},
		{"exiting", "42 (cat)" + strings.Replace(statTail, "4194304", "4194308", 1), Process{Command: "cat", Exiting: true}},
		{"zombie", "42 (cat)" + strings.Replace(statTail, " S ", " Z ", 1), Process{Command: "cat", State: "Z", Exiting: true}},
		{"dead", "42 (cat)" + strings.Replace(statTail, " S ", " X ", 1), Process{Command: "cat", State: "X", Exiting: true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := test.want
			want.PPID, want.StartTicks = 7, 123456
			if want.State == "" {
				want.State = "S"
			}
			var got Process
			if err := parseStat([]byte(test.text), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseStatRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"empty":                 "",
		"only a number":         "42",
		"no parentheses":        "42 cat" + statTail,
		"no end of the name":    "42 (cat" + statTail,
		"no start of the name":  "42 cat)" + statTail,
		"parentheses reversed":  "42 )cat(" + statTail,
		"nothing behind":        "42 (cat)",
		"19 fields behind":      "42 (cat) S 7 42 42 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0",
		"parent not a number":   "42 (cat)" + strings.Replace(statTail, " 7 ", " x ", 1),
		"flags not a number":    "42 (cat)" + strings.Replace(statTail, "4194304", "-4194304", 1),
		"start not a number":    "42 (cat)" + strings.Replace(statTail, "123456", "12.3456", 1),
		"start beyond 64 bits":  "42 (cat)" + strings.Replace(statTail, "123456", "18446744073709551616", 1),
		"the name swallows all": "42 (cat" + strings.TrimSuffix(statTail, "\n") + ")",
	} {
		got := Process{Command: "kept", State: "kept"}
		if err := parseStat([]byte(text), &got); !errors.Is(err, errStat) {
			t.Errorf("%s: error %v, %+v", name, err, got)
		}
		if got.Command != "kept" || got.State != "kept" {
			t.Errorf("%s: half taken: %+v", name, got)
		}
	}
	// No prefix of a good text panics, and none without field 22 is taken.
	whole := "42 (a) b)" + statTail
	end := strings.Index(whole, "123456")
	for n := range end {
		if err := parseStat([]byte(whole[:n]), &Process{}); !errors.Is(err, errStat) {
			t.Errorf("%q: error %v", whole[:n], err)
		}
	}
}

const statusText = "Name:\tcat\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t42\nNgid:\t0\nPid:\t43\nPPid:\t7\n" +
	"Uid:\t1000\t1001\t1002\t1003\nGid:\t5\t6\t7\t8\nGroups:\t1 2 \nNStgid:\t42\t1\nNSpid:\t43\t1\nNSpgid:\t42\t1\n"

func TestParseStatus(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       status
	}{
		{"in its own PID namespace", statusText, status{uid: 1001, tgid: 42, first: true}},
		{"in another", strings.Replace(statusText, "NSpid:\t43\t1\n", "NSpid:\t43\t12\n", 1), status{uid: 1001, tgid: 42}},
		{"1 further out", strings.Replace(statusText, "NSpid:\t43\t1\n", "NSpid:\t1\t12\n", 1), status{uid: 1001, tgid: 42}},
		{"before Linux 4.1", strings.Replace(statusText, "NSpid:\t43\t1\n", "", 1), status{uid: 1001, tgid: 42}},
		{"no numbers in NSpid", strings.Replace(statusText, "NSpid:\t43\t1\n", "NSpid:\n", 1), status{uid: 1001, tgid: 42}},
		{"largest user", strings.Replace(statusText, "\t1001", "\t4294967294", 1), status{uid: 4294967294, tgid: 42, first: true}},
		{"a name like a line", strings.Replace(statusText, "cat", `\nUid:\t0\t0\nTgid:\t9`, 1), status{uid: 1001, tgid: 42, first: true}},
		{"cut behind what is read", "Name:\tx\nTgid:\t42\nUid:\t1\t2", status{uid: 2, tgid: 42}},
	} {
		got, err := parseStatus([]byte(test.text))
		if err != nil || got != test.want {
			t.Errorf("%s: %+v, error %v; want %+v", test.name, got, err, test.want)
		}
	}
}

func TestParseStatusRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"empty":                    "",
		"no Uid":                   strings.Replace(statusText, "\nUid:", "\nXid:", 1),
		"no Tgid":                  strings.Replace(statusText, "\nTgid:", "\nXgid:", 1),
		"one user":                 "Name:\tx\nTgid:\t42\nUid:\t1\nGid:\t1\t1\n",
		"Uid not a number":         strings.Replace(statusText, "\t1001", "\tx", 1),
		"Uid below 0":              strings.Replace(statusText, "\t1001", "\t-2", 1),
		"Tgid not a number":        strings.Replace(statusText, "Tgid:\t42", "Tgid:\tx", 1),
		"Uid in the middle of one": "Name:\tx Uid:\t1\t2\t3\t4\nTgid:\t42\n",
	} {
		if got, err := parseStatus([]byte(text)); !errors.Is(err, errStatus) {
			t.Errorf("%s: %+v, error %v", name, got, err)
		}
	}
	for n := range len(statusText) {
		got, err := parseStatus([]byte(statusText[:n]))
		if err != nil && !errors.Is(err, errStatus) || err == nil && (got.tgid != 42 || !strings.HasPrefix("1001", strconv.Itoa(got.uid))) {
			t.Errorf("%q: %+v, error %v", statusText[:n], got, err)
		}
	}
}

func TestUserNames(t *testing.T) {
	var users userNames
	for uid, want := range map[int]string{0: "root", 4294967293: "4294967293"} {
		for range 2 {
			if got := users.name(uid); got != want {
				t.Errorf("%d is %q, want %q", uid, got, want)
			}
		}
	}
}

// TestOwnerOfMounts: the owner is that of the mount namespace that the process
// was seen in, and not of one that it is in since.
func TestOwnerOfMounts(t *testing.T) {
	f, err := Open("/proc", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	mnt, err1 := os.Stat("/proc/self/ns/mnt")
	user, err2 := os.Stat("/proc/self/ns/user")
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	inode := func(i os.FileInfo) uint64 { return i.Sys().(*syscall.Stat_t).Ino }
	self := Task{PID: f.Reader.PID, TID: f.Reader.PID}
	for ns, want := range map[uint64]uint64{0: inode(user), inode(mnt): inode(user), inode(mnt) + 1: 0} {
		self.MntNS = ns
		if got := f.system.mountNSOwner(self); got != want {
			t.Errorf("seen in %d: owner %d, want %d", ns, got, want)
		}
	}
}
