"""No two kinds of frames share a number, whoever adds one."""

import ast
import inspect

from adaptive_exec.levels import wire


def test_every_kind_of_frame_has_a_number_of_its_own():
    kinds = {"FUNCTION", "CHUNK", "END", "TRIM", "HELLO", "RESULTS", "UNLOADED"}
    kinds |= {"RELEASED", "RESEND", "RESENT"}
    tree = ast.parse(inspect.getsource(wire))
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}

    assert kinds <= names
    assert len({getattr(wire, name) for name in kinds}) == len(kinds)
