#!/usr/bin/env python3
import json
import sys

if sys.argv[1] == "--list":
    print(
        json.dumps(
            {
                "web": {"hosts": ["w1", "w2"], "vars": {"x": "{{ y }}"}, "children": ["sub"]},
                "sub": ["s1"],
                "odd": {"k": "{{ v }}", "n": [1, "t"]},
                "_meta": {"hostvars": {"w1": {"y": 1, "u": {"__ansible_unsafe": "{{"}}, "nobody": {"z": 1}}},
            }
        )
    )
