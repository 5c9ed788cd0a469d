"""What passes through the gateway, read and changed: dialects, scanners, decoding, transforms. No I/O, no policy.

In comes the body of a request or the bytes of an answer; out go findings for policy to decide on, and the bytes to
forward with what policy wants replaced.

    request:  media → decoding → json_text | forms → walk → scanner (patterns) → redact
    answer:   decoding → bodies | whole → sse → stream (dialects, template, order) → channel → scanner → render

Read `request` for the way of a body, then `answer` for the machine that treats a stream like a whole body, and
`scanner` for the seam behind which sensitive text is recognised.
"""
