package render

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"nsinspect/compare"
	"nsinspect/inspect"
)

// TestBytes: what is no UTF-8 has its bytes beside it, in lists too, and what
// is has nothing. The base64 is that of base64(1).
func TestBytes(t *testing.T) {
	const bad = "/a\xff" // L2H/
	both := []string{"/b", bad}
	user := inspect.Process{Task: inspect.Task{PID: 7}, User: bad}
	finding := compare.Finding{
		Evidence: map[string]any{"host_path": bad, "mount_points": both, "kept_by": []string{"/b"}, "processes": 1},
		Remedy:   compare.Remedy{Notes: both},
	}
	shown := showMount{Mount: inspect.Mount{SuperOptions: both}}
	for _, c := range []struct {
		name  string
		value any
		want  map[string]any
	}{
		{"process", process(user), map[string]any{"user": "/a\ufffd", "user_base64": "L2H/"}},
		{"listed", namespace(&compare.NamespaceSummary{Processes: []int{7}, First: user}), map[string]any{"user_base64": "L2H/"}},
		{"evidence", evidence(finding.Evidence), map[string]any{
			"host_path": "/a\ufffd", "host_path_base64": "L2H/", "mount_points": []any{"/b", "/a\ufffd"},
			"mount_points_base64": []any{"L2I=", "L2H/"}, "kept_by": []any{"/b"}, "processes": 1.0, "kept_by_base64": nil,
		}},
		{"remedy", findingJSON(&finding).Remedy, map[string]any{"notes": []any{"/b", "/a\ufffd"}, "notes_base64": []any{"L2I=", "L2H/"}}},
		{"mount", shown.json(), map[string]any{"super_options_base64": []any{"L2I=", "L2H/"}, "mount_point_base64": nil}},
		{"plain notes", findingJSON(&compare.Finding{Remedy: compare.Remedy{Notes: []string{"é"}}}).Remedy, map[string]any{"notes": []any{"é"}, "notes_base64": nil}},
	} {
		var b strings.Builder
		if err := writeJSON(&b, c.value); err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal([]byte(b.String()), &got); err != nil {
			t.Fatal(err)
		}
		for key, want := range c.want {
			if !reflect.DeepEqual(got[key], want) {
				t.Errorf("%s: %s is %v, want %v", c.name, key, got[key], want)
			}
		}
	}
}
