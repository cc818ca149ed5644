/*
 * The Python face of native/engine.h: a class Engine, in the stable ABI of Python 3.11.
 *
 * Every call holds the GIL, which makes the control side one thread at a time; the media thread never takes it.
 * Nothing here points into the engine while Python objects are made, since making one may run any Python code.
 */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include <errno.h>

#include "native/engine.h"

enum { LONGEST_PAUSE_US = 10000 };

typedef struct {
    PyObject_HEAD
    struct engine *engine;
    bool taking;
} Engine;

/* Set the exception for a negative errno: KeyError for what is not there, ValueError for what cannot be. */
static PyObject *failed(int64_t result, PyObject *arguments)
{
    if (result == -ENOENT) {
        PyErr_SetObject(PyExc_KeyError, arguments);
    } else if (result == -EINVAL) {
        PyErr_SetObject(PyExc_ValueError, arguments);
    } else if (result == -ENOMEM) {
        PyErr_NoMemory();
    } else {
        errno = (int)-result;
        PyErr_SetFromErrno(PyExc_OSError);
    }
    return NULL;
}

static int to_endpoint(PyObject *object, void *result)
{
    struct endpoint *endpoint = result;
    char *bytes;
    Py_ssize_t size;
    *endpoint = (struct endpoint){0};
    if (PyBytes_AsStringAndSize(object, &bytes, &size) < 0)
        return 0;
    if (size >= (Py_ssize_t)sizeof endpoint->address.ipv4 && size <= (Py_ssize_t)sizeof endpoint->address) {
        memcpy(&endpoint->address, bytes, (size_t)size);
        if (endpoint_size(endpoint->address.any.sa_family) == (socklen_t)size) {
            endpoint->size = (socklen_t)size;
            return 1;
        }
    }
    PyErr_SetString(PyExc_ValueError, "not an IPv4 or IPv6 socket address");
    return 0;
}

static int to_endpoint_or_none(PyObject *object, void *result)
{
    *(struct endpoint *)result = (struct endpoint){0};
    return object == Py_None ? 1 : to_endpoint(object, result);
}

static int to_key(PyObject *object, void *result)
{
    unsigned long key = PyLong_AsUnsignedLong(object);
    bool failure = key == (unsigned long)-1 && PyErr_Occurred() != NULL;
    if (failure && !PyErr_ExceptionMatches(PyExc_OverflowError))
        return 0;
    if (failure || key > UINT32_MAX) {
        PyErr_SetString(PyExc_ValueError, "a key is a number of 32 bits");
        return 0;
    }
    *(uint32_t *)result = (uint32_t)key;
    return 1;
}

static PyObject *from_endpoint(const struct endpoint *endpoint)
{
    if (endpoint->size == 0)
        Py_RETURN_NONE;
    return PyBytes_FromStringAndSize((const char *)&endpoint->address, (Py_ssize_t)endpoint->size);
}

static PyObject *engine_type_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    int pause = 0;
    struct engine *engine = NULL;
    (void)kwargs;
    if (!PyArg_ParseTuple(args, "i:Engine", &pause))
        return NULL;
    if (pause < 0 || pause > LONGEST_PAUSE_US)
        return PyErr_Format(PyExc_ValueError, "a pause of %d us is not from 0 to %d us", pause, LONGEST_PAUSE_US);
    int failure = engine_new(&engine, (uint64_t)pause * 1000);
    if (failure != 0)
        return failed(failure, args);
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Engine *self = (Engine *)allocate(type, 0);
    if (self == NULL)
        engine_free(engine);
    else
        self->engine = engine;
    return (PyObject *)self;
}

static void engine_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    engine_free(((Engine *)object)->engine);
    release(object);
    Py_DECREF(type);
}

static PyObject *method_fileno(Engine *self, PyObject *unused)
{
    (void)unused;
    return PyLong_FromLong(engine_fileno(self->engine));
}

static PyObject *method_open(Engine *self, PyObject *args)
{
    int descriptor, relay;
    if (!PyArg_ParseTuple(args, "ip:open", &descriptor, &relay))
        return NULL;
    int64_t port = engine_open(self->engine, descriptor, relay != 0);
    return port < 0 ? failed(port, args) : PyLong_FromLongLong(port);
}

static PyObject *method_close(Engine *self, PyObject *args)
{
    long long port;
    if (!PyArg_ParseTuple(args, "L:close", &port))
        return NULL;
    int result = engine_close(self->engine, port);
    if (result < 0)
        return failed(result, args);
    Py_RETURN_NONE;
}

static PyObject *method_stop(Engine *self, PyObject *unused)
{
    (void)unused;
    engine_stop(self->engine);
    Py_RETURN_NONE;
}

/* Read a sequence of (port, address) pairs; give how many there are, -1 with an exception set. */
static Py_ssize_t read_targets(PyObject *sequence, struct target *targets)
{
    Py_ssize_t count = PySequence_Size(sequence);
    if (count > MAX_TARGETS) {
        PyErr_Format(PyExc_ValueError, "a flow has %d targets at most", MAX_TARGETS);
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        long long port = 0;
        PyObject *pair = PySequence_GetItem(sequence, i);
        if (pair == NULL)
            return -1;
        int parsed = PyTuple_Check(pair) &&
                     PyArg_ParseTuple(pair, "LO&:target", &port, to_endpoint, &targets[i].address);
        Py_DECREF(pair);
        if (!parsed) {
            if (!PyErr_Occurred())
                PyErr_SetString(PyExc_TypeError, "a target is a tuple of a port and an address");
            return -1;
        }
        targets[i].port = port;
    }
    return count;
}

static PyObject *method_set_flow(Engine *self, PyObject *args)
{
    long long port;
    uint32_t key;
    struct endpoint source;
    PyObject *sequence;
    struct target targets[MAX_TARGETS];
    if (!PyArg_ParseTuple(args, "LO&O&O:set_flow", &port, to_key, &key, to_endpoint_or_none, &source, &sequence))
        return NULL;
    Py_ssize_t count = read_targets(sequence, targets);
    if (count < 0)
        return NULL;
    int result = engine_set_flow(self->engine, port, key, &source, targets, (size_t)count);
    if (result < 0)
        return failed(result, args);
    Py_RETURN_NONE;
}

static const char AUDIENCE[] = "rtlib.media._forwarder.audience";

static void drop_audience(PyObject *capsule)
{
    engine_drop_audience(PyCapsule_GetPointer(capsule, AUDIENCE));
}

static PyObject *method_audience(Engine *self, PyObject *unused)
{
    (void)unused;
    struct audience *audience = engine_make_audience(self->engine);
    if (audience == NULL)
        return PyErr_NoMemory();
    PyObject *capsule = PyCapsule_New(audience, AUDIENCE, drop_audience);
    if (capsule == NULL)
        engine_drop_audience(audience);
    return capsule;
}

static int to_audience(PyObject *object, void *result)
{
    return (*(struct audience **)result = PyCapsule_GetPointer(object, AUDIENCE)) != NULL;
}

static PyObject *method_set_audience(Engine *self, PyObject *args)
{
    struct audience *audience;
    PyObject *sequence;
    struct target targets[MAX_TARGETS];
    if (!PyArg_ParseTuple(args, "O&O:set_audience", to_audience, &audience, &sequence))
        return NULL;
    Py_ssize_t count = read_targets(sequence, targets);
    if (count < 0)
        return NULL;
    int result = engine_set_audience(self->engine, audience, targets, (size_t)count);
    if (result < 0)
        return failed(result, args);
    Py_RETURN_NONE;
}

static PyObject *method_set_speaker(Engine *self, PyObject *args)
{
    long long port;
    uint32_t key;
    struct endpoint source;
    struct audience *audience;
    if (!PyArg_ParseTuple(args, "LO&O&O&:set_speaker", &port, to_key, &key, to_endpoint_or_none, &source, to_audience,
                          &audience))
        return NULL;
    int result = engine_set_speaker(self->engine, port, key, &source, audience);
    if (result < 0)
        return failed(result, args);
    Py_RETURN_NONE;
}

static PyObject *method_remove_flow(Engine *self, PyObject *args)
{
    long long port;
    uint32_t key;
    if (!PyArg_ParseTuple(args, "LO&:remove_flow", &port, to_key, &key))
        return NULL;
    int result = engine_remove_flow(self->engine, port, key);
    if (result < 0)
        return failed(result, args);
    Py_RETURN_NONE;
}

static PyObject *from_targets(const struct target *targets, size_t count)
{
    PyObject *result = PyTuple_New((Py_ssize_t)count);
    for (size_t i = 0; result != NULL && i < count; i++) {
        PyObject *pair = Py_BuildValue("LN", (long long)targets[i].port, from_endpoint(&targets[i].address));
        if (pair == NULL || PyTuple_SetItem(result, (Py_ssize_t)i, pair) < 0)
            Py_CLEAR(result);
    }
    return result;
}

static PyObject *method_flow(Engine *self, PyObject *args)
{
    long long port;
    uint32_t key;
    struct flow_view view;
    if (!PyArg_ParseTuple(args, "LO&:flow", &port, to_key, &key))
        return NULL;
    int result = engine_flow(self->engine, port, key, &view);
    if (result < 0)
        return failed(result, args);
    const struct flow_counters *counters = &view.counters;
    return Py_BuildValue("NNKKKKKd", from_endpoint(&view.source), from_targets(view.targets, view.target_count),
                         (unsigned long long)counters->rx, (unsigned long long)counters->rx_bytes,
                         (unsigned long long)counters->tx, (unsigned long long)counters->tx_bytes,
                         (unsigned long long)counters->wrong_source, (double)counters->last_active / 1e9);
}

static PyObject *method_port_counters(Engine *self, PyObject *args)
{
    long long port;
    struct port_counters counters;
    if (!PyArg_ParseTuple(args, "L:port_counters", &port))
        return NULL;
    int result = engine_port_counters(self->engine, port, &counters);
    if (result < 0)
        return failed(result, args);
    return Py_BuildValue("KKKKKKKKKK", (unsigned long long)counters.received,
                         (unsigned long long)counters.received_bytes, (unsigned long long)counters.sent,
                         (unsigned long long)counters.sent_bytes, (unsigned long long)counters.too_short,
                         (unsigned long long)counters.too_long, (unsigned long long)counters.no_destination,
                         (unsigned long long)counters.send_errors, (unsigned long long)counters.unmatched,
                         (unsigned long long)counters.unmatched_dropped);
}

static PyObject *method_send(Engine *self, PyObject *args)
{
    long long port;
    const char *data;
    Py_ssize_t size;
    struct endpoint to;
    if (!PyArg_ParseTuple(args, "Ly#O&:send", &port, &data, &size, to_endpoint, &to))
        return NULL;
    int result = engine_send(self->engine, port, (const uint8_t *)data, (size_t)size, &to);
    if (result < 0)
        return failed(result, args);
    Py_RETURN_NONE;
}

/* Append to a list and let go of the item, which may be NULL for an exception. */
static bool append(PyObject *list, PyObject *item)
{
    bool done = item != NULL && PyList_Append(list, item) == 0;
    Py_XDECREF(item);
    return done;
}

static bool fill(const struct box *box, PyObject *packets, PyObject *failures)
{
    bool done = true;
    for (size_t i = 0; done && i < box->packet_count; i++) {
        const struct up_packet *packet = &box->packets[i];
        done = append(packets, Py_BuildValue("Ly#N", (long long)packet->port, (const char *)packet->data,
                                             (Py_ssize_t)packet->size, from_endpoint(&packet->from)));
    }
    for (size_t i = 0; done && i < box->failure_count; i++) {
        const struct up_failure *failure = &box->failures[i];
        done = append(failures, Py_BuildValue("LNi", (long long)failure->port, from_endpoint(&failure->to),
                                              failure->number));
    }
    return done;
}

static PyObject *method_take(Engine *self, PyObject *unused)
{
    (void)unused;
    PyObject *packets = PyList_New(0), *failures = PyList_New(0);
    bool done = packets != NULL && failures != NULL;
    /* A finalizer that takes while the lists are made would give the box that is read here to the media thread. */
    if (done && !self->taking) {
        self->taking = true;
        done = fill(engine_take(self->engine), packets, failures);
        self->taking = false;
    }
    if (done)
        return Py_BuildValue("NN", packets, failures);
    Py_XDECREF(packets);
    Py_XDECREF(failures);
    return NULL;
}

static PyObject *method_contention(Engine *self, PyObject *unused)
{
    (void)unused;
    struct contention contention = engine_contention(self->engine);
    return Py_BuildValue("Kd", (unsigned long long)contention.times, (double)contention.longest / 1e9);
}

static PyMethodDef methods[] = {
    {"fileno", (PyCFunction)method_fileno, METH_NOARGS, "The descriptor that is readable when take() gives something."},
    {"open", (PyCFunction)method_open, METH_VARARGS, "open(descriptor, relay): take over a bound UDP socket."},
    {"close", (PyCFunction)method_close, METH_VARARGS, "close(port): close its socket and forget its flows."},
    {"stop", (PyCFunction)method_stop, METH_NOARGS, "Close all ports and end the thread."},
    {"set_flow", (PyCFunction)method_set_flow, METH_VARARGS, "set_flow(port, key, source, targets)."},
    {"audience", (PyCFunction)method_audience, METH_NOARGS, "An audience without targets."},
    {"set_audience", (PyCFunction)method_set_audience, METH_VARARGS, "set_audience(audience, targets)."},
    {"set_speaker", (PyCFunction)method_set_speaker, METH_VARARGS, "set_speaker(port, key, source, audience)."},
    {"remove_flow", (PyCFunction)method_remove_flow, METH_VARARGS, "remove_flow(port, key)."},
    {"flow", (PyCFunction)method_flow, METH_VARARGS, "flow(port, key): the fields of FlowCounters."},
    {"port_counters", (PyCFunction)method_port_counters, METH_VARARGS, "The fields of PortCounters."},
    {"send", (PyCFunction)method_send, METH_VARARGS, "send(port, data, address): send one packet."},
    {"take", (PyCFunction)method_take, METH_NOARGS, "Packets (port, data, address), failures (port, address, errno)."},
    {"contention", (PyCFunction)method_contention, METH_NOARGS, "How often the lock was taken; the longest wait in s."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "Engine(pause): ports, flows and a thread that moves packets; `pause`: us between drains under load."},
    {Py_tp_new, engine_type_new},
    {Py_tp_dealloc, engine_dealloc},
    {Py_tp_methods, methods},
    {0, NULL},
};

static PyType_Spec specification = {
    .name = "rtlib.media._forwarder.Engine",
    .basicsize = sizeof(Engine),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slots,
};

static int execute(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &specification, NULL);
    int result = type == NULL ? -1 : PyModule_AddType(module, (PyTypeObject *)type);
    Py_XDECREF(type);
    return result;
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, execute},
    {0, NULL},
};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_forwarder",
    .m_doc = "The native packet forwarder; see rtlib.media.native_forwarder.",
    .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__forwarder(void)
{
    return PyModuleDef_Init(&definition);
}
