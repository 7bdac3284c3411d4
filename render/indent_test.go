package render

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// FuzzIndent holds that the layout is the library's, whatever the document.
func FuzzIndent(f *testing.F) {
	for _, document := range []string{
		`{}`, `[]`, `""`, `null`, `-1.5e3`, `[[],{},[{}]]`, `{"a":[1,2,{"b":null}],"c":"x,y:{z}[]"}`,
		`["\"","\\","\\\"",",",":","]","}"]`, `[ 1 , 2 ]`, `{"a":{"a":{"a":[true,false]}}}`, `["é\u2028<&>"]`,
		strings.Repeat("[", 40) + strings.Repeat("]", 40),
	} {
		f.Add([]byte(document))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var document any
		if json.Unmarshal(text, &document) != nil {
			t.Skip("no document")
		}
		want, err := json.MarshalIndent(document, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if err := writeJSON(&got, document); err != nil {
			t.Fatal(err)
		}
		if got.String() != string(want)+"\n" {
			t.Errorf("%s\nis laid out as\n%s\nwant\n%s", text, got.String(), want)
		}
	})
}

// TestWriteJSONError holds that no error of the writer is lost, early or late.
func TestWriteJSONError(t *testing.T) {
	full := errors.New("full")
	for _, size := range []int{1, 100, 100_000} {
		err := writeJSON(failing{full}, strings.Repeat("x", size))
		if !errors.Is(err, full) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
