"""How numba compiles our functions: by a pipeline of its own parts, without what they do not need. Half the time.

* numba optimizes every function, makes machine code of it, and optimizes it again inside everything it is inlined
  into. A part only ever exists inside its callers, and is left to them (`_PartLibrary`).
* A third of numba's passes deal with what no rule contains: closures, `with`, array expressions (`_NOT_IN_RULES`).
* For each operator of each function numba asks some twenty candidates, those of strings and sets among them, whether
  they fit the types. Within one compilation the answer is always the same (`_SAME_AGAIN`).
* It keeps a book in memory, where LLVM must find out that its two hundred numbers may stay values (`_Lower`).
* It makes more objects than Python's garbage collector can look through in passing (`_rare_collections`).
* When it starts, it imports most of SciPy, to ask whether there is any (`_defer_blas`).

Nothing of this is public in numba. Its version is pinned, and tests/unit/test_compiled.py fails where it breaks.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import sys
import threading
from collections.abc import Callable, Generator
from typing import Any, Final, cast

from numba.core import config, ir, typed_passes, untyped_passes
from numba.core.analysis import compute_cfg_from_blocks, compute_use_defs
from numba.core.base import BaseContext
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.compiler_machinery import register_pass
from numba.core.lowering import Lower
from numba.core.registry import CPUDispatcher
from numba.core.targetconfig import ConfigStack
from numba.core.typed_passes import NativeLowering
from numba.core.types.functions import BaseFunction

# --- what is pasted into its callers ---------------------------------------------------------------------------------


class _PartLibrary(JITCodeLibrary):
    """Code that is pasted: simplified, so that its callers have less to read, but not made executable."""

    def _optimize_final_module(self) -> None:
        if self._linking_libraries:  # what it pastes itself
            passes, builder = self._codegen._module_pass_manager(
                loop_vectorize=False, slp_vectorize=False, opt=0, cost="cheap"
            )
            passes.run(self._final_module, builder)

    def _finalize_final_module(self) -> None:
        self._finalized = True


class _Lower(Lower):
    """Keeps as a value what is assigned once, before all of its uses, and not only what a single block knows."""

    def _find_singly_assigned_variable(self) -> None:
        super()._find_singly_assigned_variable()
        if self.context.enable_nrt:
            return  # then leaving a variable is more than forgetting it
        blocks = self.func_ir.blocks
        assigned: dict[str, list[int]] = {}
        used: dict[str, list[int]] = {}
        for label, block in blocks.items():
            for statement in block.find_insts(ir.Assign):
                assigned.setdefault(statement.target.name, []).append(label)
        for label, names in compute_use_defs(blocks).usemap.items():
            for name in names:
                used.setdefault(name, []).append(label)
        before = compute_cfg_from_blocks(blocks).dominators()
        for name, (place, *others) in assigned.items():
            if not others and all(place < label and place in before[label] for label in used.get(name, ())):
                self._singly_assigned_vars.add(name)


@register_pass(mutates_CFG=True, analysis_only=False)
class _RuleLowering(NativeLowering):
    _name = "rule_lowering"

    @property
    def lowering_class(self) -> Any:
        return _Lower


@register_pass(mutates_CFG=True, analysis_only=False)
class _PartLowering(_RuleLowering):
    _name = "part_lowering"

    def run_pass(self, state: Any) -> Any:
        state.library = _PartLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        state.flags.no_compile = True  # nothing that Python could call
        super().run_pass(state)
        made = state["cr"]
        key = set[Any]().pop  # callers find a function by the builtin that Python would call: some builtin of its own
        state.targetctx.insert_user_function(key, made.fndesc, [state.library])
        state.reload_init.extend(state.library._reload_init)
        state["cr"] = made._replace(cfunc=key)
        return True


# --- pipelines -------------------------------------------------------------------------------------------------------

#: Passes that rules go without: each deals with what no rule contains, or with what LLVM does as well.
_NOT_IN_RULES: Final = (
    untyped_passes.WithLifting,
    untyped_passes.InlineClosureLikes,
    untyped_passes.RewriteDynamicRaises,
    untyped_passes.MakeFunctionToJitFunction,
    untyped_passes.InlineInlinables,
    untyped_passes.FindLiterallyCalls,
    untyped_passes.LiteralUnroll,
    untyped_passes.LiteralPropagationSubPipelinePass,
    typed_passes.NopythonRewrites,  # array expressions
    typed_passes.DumpParforDiagnostics,
)


class _Loops(Compiler):
    """numba's own pipeline, in haste."""

    def compile_extra(self, func: Callable[..., Any]) -> Any:
        with _in_haste():
            return super().compile_extra(func)


class _Rules(_Loops):
    """For scalars and loops over arrays that are there: no closures, comprehensions or array expressions."""

    lowering: Any = _RuleLowering

    def define_pipelines(self) -> list[Any]:
        (passes,) = super().define_pipelines()
        kept = [named for named in passes.passes if named[0] not in _NOT_IN_RULES]
        passes.passes = [(self.lowering if each is NativeLowering else each, name) for each, name in kept]
        return [passes]


class _Parts(_Rules):
    lowering = _PartLowering


# --- functions -------------------------------------------------------------------------------------------------------


class Loop(CPUDispatcher):
    """A loop that may allocate."""

    pipeline: Any = _Loops


class Entry(CPUDispatcher):
    """A rule that Python calls."""

    pipeline: Any = _Rules


class Apart(CPUDispatcher):
    """A function that only compiled code calls."""

    pipeline: Any = _Parts

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        name = self.py_func.__name__
        raise TypeError(f"{name} is a part, which only compiled code can call; from Python call {name}.py_func")


class Part(Apart):
    """A function that compiled code pastes into itself."""


class Rule(Entry):
    """A function that compiled code pastes into itself and that Python can call; neither compiles for the other."""

    @functools.cached_property
    def part(self) -> Any:
        return made(Part, self.py_func, **self.targetoptions)

    def get_call_template(self, args: Any, kws: Any) -> Any:
        return self.part.get_call_template(args, kws)

    def get_overload(self, sig: Any) -> Any:
        return self.part.get_overload(sig)


def made(kind: Any, function: Callable[..., Any], cache: bool = False, **options: Any) -> Any:
    """The function as numba.njit would return it, but of our kind; itself where numba is told to do nothing."""
    if cast(Any, config).DISABLE_JIT:
        return function
    options = {"nopython": True, "boundscheck": None, "no_cfunc_wrapper": True, **options}
    if issubclass(kind, Apart):
        options |= {"forceinline": kind is Part, "no_cpython_wrapper": True}
    dispatcher = kind(function, targetoptions=options, pipeline_class=kind.pipeline)
    if cache:
        dispatcher.enable_caching()
    return dispatcher


# --- haste -----------------------------------------------------------------------------------------------------------

#: What numba works out anew each time, and what the answer depends on.
_SAME_AGAIN: Final[tuple[tuple[Any, str, Callable[..., Any]], ...]] = (
    (BaseFunction, "get_call_type", lambda f, context, args, kws: (id(f), context, *args, *kws.items(), _counting())),
    (BaseContext, "get_abi_sizeof", lambda context, kind: kind),
    (BaseContext, "get_arg_packer", lambda context, kinds: tuple(kinds)),
)
_compiling: Final = threading.Lock()


def _counting() -> bool:
    """Does what is being compiled count references? Then so does what numba puts into it."""
    flags: Any = ConfigStack.top_or_none()
    return flags.nrt


@contextlib.contextmanager
def _in_haste() -> Generator[None]:
    """While one of our functions compiles, with all its callees; numba lets one thread compile at a time."""
    if _compiling.locked():
        yield
        return
    with _compiling, _rare_collections(), contextlib.ExitStack() as remembered:
        for owner, name, known_by in _SAME_AGAIN:
            remembered.enter_context(_remembered(owner, name, known_by))
        yield


@contextlib.contextmanager
def _remembered(owner: Any, name: str, known_by: Callable[..., Any]) -> Generator[None]:
    compute = getattr(owner, name)
    found: dict[Any, Any] = {}

    def remember(*arguments: Any) -> Any:
        key = known_by(*arguments)
        if key not in found:
            found[key] = compute(*arguments), arguments  # which are kept, so that nothing else gets their id
        return found[key][0]

    setattr(owner, name, remember)
    try:
        yield
    finally:
        setattr(owner, name, compute)


@contextlib.contextmanager
def _rare_collections() -> Generator[None]:
    before = gc.get_threshold()
    gc.set_threshold(max(before[0], 100_000), *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


# --- start -----------------------------------------------------------------------------------------------------------


class _AskedLater:
    """In the place of numba's knowledge whether there is linear algebra."""

    def __bool__(self) -> bool:
        return _arraymath._check_blas()


def _defer_blas() -> Any:
    """Import numba.np.arraymath without SciPy's linear algebra, which takes a quarter of a first run's time.

    numba asks for it at import, and again wherever compiled code needs it: that is soon enough.
    """
    if "numba.np.arraymath" in sys.modules:
        return sys.modules["numba.np.arraymath"]
    from numba.np import linalg

    ensure = linalg.ensure_blas
    linalg.ensure_blas = lambda: None
    try:
        found: Any = importlib.import_module("numba.np.arraymath")
    finally:
        linalg.ensure_blas = ensure
    found.ensure_blas = ensure
    found._HAVE_BLAS = _AskedLater()
    return found


_arraymath: Any = _defer_blas()
