// Renders a Helm chart as `helm template` does, with the parts that Helm itself is made of: Go's text/template, sprig, sigs.k8s.io/yaml. For tests on a machine
// without Helm; needs only Debian's packages. What it lacks of Helm (subcharts, hooks, lookup, the schema of the values) the chart does not use, or the tests
// check elsewhere.
//
//	render CHART NAMESPACE < values.json
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig"
	"sigs.k8s.io/yaml"
)

type mapping = map[string]interface{}

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(chart, namespace string) error {
	var about, values, given mapping
	if err := read(filepath.Join(chart, "Chart.yaml"), &about); err != nil {
		return err
	}
	if err := read(filepath.Join(chart, "values.yaml"), &values); err != nil {
		return err
	}
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	if err := yaml.Unmarshal(text, &given); err != nil {
		return err
	}
	merge(values, given)
	files, err := filepath.Glob(filepath.Join(chart, "templates", "*"))
	if err != nil {
		return err
	}
	sort.Strings(files)
	all := template.New("chart").Option("missingkey=zero")
	all.Funcs(functions(all))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if _, err := all.New(filepath.Base(file)).Parse(string(text)); err != nil {
			return err
		}
	}
	data := mapping{
		"Values": values,
		// Helm names the keys of Chart.yaml as the fields of its structure.
		"Chart":   mapping{"Name": about["name"], "Version": about["version"], "AppVersion": about["appVersion"]},
		"Release": mapping{"Name": "flannel", "Namespace": namespace, "Service": "Helm", "IsInstall": true, "Revision": 1},
	}
	for _, file := range files {
		name := filepath.Base(file)
		var out bytes.Buffer
		if strings.HasPrefix(name, "_") {
			continue
		}
		if err := all.ExecuteTemplate(&out, name, data); err != nil {
			return err
		}
		if strings.HasSuffix(name, ".yaml") {
			// As in Helm, where a value that is not there says nothing.
			fmt.Printf("---\n%s\n", strings.ReplaceAll(out.String(), "<no value>", ""))
		}
	}
	return nil
}

func read(file string, into *mapping) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return yaml.Unmarshal(text, into)
}

// merge lays above over below, key by key; null takes a key away.
func merge(below, above mapping) {
	for key, value := range above {
		old, isMapping := below[key].(mapping)
		inner, both := value.(mapping)
		switch {
		case value == nil:
			delete(below, key)
		case isMapping && both:
			merge(old, inner)
		default:
			below[key] = value
		}
	}
}

func functions(all *template.Template) template.FuncMap {
	known := sprig.TxtFuncMap()
	delete(known, "env")
	delete(known, "expandenv")
	known["include"] = func(name string, data interface{}) (string, error) {
		var out strings.Builder
		err := all.ExecuteTemplate(&out, name, data)
		return out.String(), err
	}
	known["toYaml"] = func(value interface{}) string {
		text, err := yaml.Marshal(value)
		if err != nil {
			return ""
		}
		return strings.TrimSuffix(string(text), "\n")
	}
	known["toJson"] = func(value interface{}) string {
		text, err := json.Marshal(value)
		if err != nil {
			return ""
		}
		return string(text)
	}
	known["fromJson"] = func(text string) mapping {
		value := mapping{}
		if err := json.Unmarshal([]byte(text), &value); err != nil {
			value["Error"] = err.Error()
		}
		return value
	}
	return known
}
