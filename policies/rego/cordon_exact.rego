# Guards that `exactly.py` puts around what the embedded engine would compute otherwise than OPA: arithmetic on fractions
# or on very large numbers, and the length of texts. What they cannot vouch for is an error, which denies.
package cordon_exact

whole(x) := x if {
	not is_number(x)
} else := x if {
	x == round(x)
	abs(x) < 9223372036854775808
} else := to_number("a fraction, or a number beyond 2^63, in arithmetic")

small(x) := x if {
	x == round(x)
	abs(x) <= 4503599627370496
} else := to_number("a fraction, or a number beyond 2^52, in a division")

size(x) := cordon_length(x) if {
	is_string(x)
} else := count(x)

total(xs) := whole(sum(xs)) if {
	every x in xs {
		small(x) == x
	}
}

multiplied(xs) := whole(product(xs)) if {
	every x in xs {
		small(x) == x
	}
}

parsed_uuid(x) := parts if {
	parts := uuid.parse(x)
	parts != null
}

subset(x, y) := y - x == set() if {
	is_set(x)
	is_set(y)
} else := object.subset(x, y)

holds(k, v, c) if {
	is_object(c)
	c[k] == v
} else if {
	is_array(c)
	is_number(k)
	c[k] == v
} else if {
	is_set(c)
	k == v
	k in c
} else := false

ordered(x) := x if {
	not is_set(x)
	not is_array(x)
	not is_object(x)
} else := x if {
	every part in [found | walk(x, [_, found])] {
		not is_set(part)
	}
} else := to_number("a set in a comparison of order")

scalar(x) if {
	not is_set(x)
	not is_array(x)
	not is_object(x)
}

compared(xs) := xs if {
	every x in xs {
		scalar(x)
	}
} else := xs if {
	unmixed([part | some x in xs; walk(x, part)])
} else := to_number("sets beside objects, in the order of things")

iterated(xs) := xs if {
	not is_set(xs)
	not is_object(xs)
} else := xs if {
	is_set(xs)
	compared(xs) == xs
} else := xs if {
	keys := [key | some key, _ in xs]
	compared(keys) == keys
}

unmixed(parts) if {
	every part in parts {
		not is_object(part[1])
	}
} else if {
	every part in parts {
		of_scalars(part[1])
	}
	{part[0] | some part in parts; is_set(part[1])} & {part[0] | some part in parts; is_object(part[1])} == set()
}

of_scalars(x) if {
	not is_object(x)
	not is_set(x)
} else if {
	is_object(x)
	every key, _ in x {
		scalar(key)
	}
} else if {
	is_set(x)
	every each in x {
		scalar(each)
	}
}
