package remount

import "golang.org/x/sys/unix"

// faults are the kernel's calls, some of which fail.
type faults struct {
	// fails says whether a call fails: by its name, which one of that name it
	// is, and which one of all.
	fails func(name string, nth, all int) error
	made  []string
	count map[string]int
}

// failing are calls of which the nth of one name fails.
func failing(name string, nth int, with unix.Errno) *calls {
	f := &faults{fails: func(n string, i, _ int) error {
		if n == name && i == nth {
			return with
		}
		return nil
	}}
	return f.calls()
}

// before are calls that do something just before the nth of one name.
func before(name string, nth int, do func()) *calls {
	f := &faults{fails: func(n string, i, _ int) error {
		if n == name && i == nth {
			do()
		}
		return nil
	}}
	return f.calls()
}

// call notes a call, then makes it or lets it fail.
func (f *faults) call(name string, do func() error) error {
	if f.count == nil {
		f.count = map[string]int{}
	}
	f.made = append(f.made, name)
	f.count[name]++
	if err := f.fails(name, f.count[name], len(f.made)); err != nil {
		return err
	}
	return do()
}

// open is call for what returns a descriptor.
func (f *faults) open(name string, do func() (int, error)) (fd int, err error) {
	err = f.call(name, func() error {
		fd, err = do()
		return err
	})
	if err != nil {
		return -1, err
	}
	return fd, nil
}

func (f *faults) calls() *calls {
	c := kernel
	c.openat2 = func(dir int, path string, how *unix.OpenHow) (int, error) {
		return f.open("openat2", func() (int, error) { return kernel.openat2(dir, path, how) })
	}
	c.fsopen = func(fs string, flags int) (int, error) {
		return f.open("fsopen", func() (int, error) { return kernel.fsopen(fs, flags) })
	}
	c.fsmount = func(fd, flags, attrs int) (int, error) {
		return f.open("fsmount", func() (int, error) { return kernel.fsmount(fd, flags, attrs) })
	}
	c.openTree = func(dir int, path string, flags uint) (int, error) {
		return f.open("openTree", func() (int, error) { return kernel.openTree(dir, path, flags) })
	}
	c.statx = func(fd int, path string, flags, mask int, st *unix.Statx_t) error {
		return f.call("statx", func() error { return kernel.statx(fd, path, flags, mask, st) })
	}
	c.unshare = func(flags int) error { return f.call("unshare", func() error { return kernel.unshare(flags) }) }
	c.setns = func(fd, kind int) error { return f.call("setns", func() error { return kernel.setns(fd, kind) }) }
	c.setWord = func(fd int, key string) error {
		return f.call("setWord", func() error { return kernel.setWord(fd, key) })
	}
	c.setValue = func(fd int, key, value string) error {
		return f.call("setValue", func() error { return kernel.setValue(fd, key, value) })
	}
	c.create = func(fd int) error { return f.call("create", func() error { return kernel.create(fd) }) }
	c.moveMount = func(from int, fromPath string, to int, toPath string, flags int) error {
		return f.call("moveMount", func() error { return kernel.moveMount(from, fromPath, to, toPath, flags) })
	}
	c.umount = func(path string, flags int) error {
		return f.call("umount", func() error { return kernel.umount(path, flags) })
	}
	c.propagate = func(flags uintptr) error {
		return f.call("propagate", func() error { return kernel.propagate(flags) })
	}
	return &c
}
