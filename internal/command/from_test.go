package command

import (
	"testing"
	"time"

	"nsinspect/inspect"
)

func TestOrigin(t *testing.T) {
	at := time.Date(2026, 11, 26, 2, 7, 12, 0, time.FixedZone("CET", 3600))
	for _, c := range []struct {
		from inspect.Origin
		want string
	}{
		{inspect.Origin{Host: "web-3", Kernel: "6.18.0", Made: at}, " of web-3, Linux 6.18.0, made 2026-11-26 01:07:12 UTC"},
		{inspect.Origin{Made: at}, ", made 2026-11-26 01:07:12 UTC"},
		{inspect.Origin{Kernel: "4.15.0", Made: time.Unix(0, 0)}, ", Linux 4.15.0, of a time that it does not tell"},
		{inspect.Origin{}, ", of a time that it does not tell"},
	} {
		if got := origin(c.from); got != c.want {
			t.Errorf("%+v: %q, want %q", c.from, got, c.want)
		}
	}
}
