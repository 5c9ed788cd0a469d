"""What an author has for a bundle: an examination of its source, its tests run, its decisions measured.

    examining.py    everything that `cordon policy check` says beyond admission; it brings together
        inputs.py       references to `input` against the documented input (layout.py), also through aliases (scope.py)
        mocks.py        the same for what tests put in its place
        rules.py        rules that nothing reaches, that cannot matter, that no test reaches
    running.py      runs tests in processes (worker.py, which finds what failed with failing.py)
        cases.py        which tests there are, and the cases of `test_x[case]`
        coverage.py     which lines and rules they evaluated
        junit.py        the results for a build server
    measuring.py    what decisions and rules cost

Tests are evaluated in processes that may be killed; what is measured was admitted, and so is known to end.
"""
