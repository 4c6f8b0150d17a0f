# Attributes of classes with __slots__, and of msgspec's Structs, lie at a fixed place in their objects: read there, one
# costs a tenth of a look-up by name. What is read is borrowed: it is used before anything could replace it.
from cpython.object cimport PyObject


cdef extern from *:
    """
    #include <descrobject.h>
    #include <structmember.h>
    static Py_ssize_t tripline_offset(PyObject* cls, PyObject* name) {
        PyObject* found = PyObject_GetAttr(cls, name);
        if (found == NULL) return -1;
        if (!Py_IS_TYPE(found, &PyMemberDescr_Type)) {
            Py_DECREF(found);
            PyErr_Format(PyExc_TypeError, "%R of %R is no slot", name, cls);
            return -1;
        }
        Py_ssize_t at = ((PyMemberDescrObject*)found)->d_member->offset;
        Py_DECREF(found);
        return at;
    }
    static inline PyObject* tripline_get(PyObject* of, Py_ssize_t at) { return *(PyObject**)((char*)of + at); }
    static inline void tripline_set(PyObject* of, Py_ssize_t at, PyObject* value) {
        PyObject** place = (PyObject**)((char*)of + at);
        PyObject* before = *place;
        Py_INCREF(value);
        *place = value;
        Py_XDECREF(before);
    }
    """
    Py_ssize_t offset_of "tripline_offset"(object cls, object name) except -1
    PyObject* peek "tripline_get"(PyObject* of, Py_ssize_t at) noexcept
    void put "tripline_set"(PyObject* of, Py_ssize_t at, object value) noexcept


cdef extern from *:
    """
    /* A Struct with the fields of another. Its kinds have no collector, no dict and no weak references (is_plain). */
    static inline PyObject* tripline_like(PyObject* of) {
        PyTypeObject* type = Py_TYPE(of);
        PyObject* made = type->tp_alloc(type, 0);
        if (made == NULL) return NULL;
        for (Py_ssize_t at = sizeof(PyObject); at < type->tp_basicsize; at += sizeof(PyObject*)) {
            PyObject* value = *(PyObject**)((char*)of + at);
            Py_XINCREF(value);
            *(PyObject**)((char*)made + at) = value;
        }
        return made;
    }
    static inline int tripline_is_plain(PyObject* of, Py_ssize_t fields) {
        PyTypeObject* type = (PyTypeObject*)of;
        return !PyType_HasFeature(type, Py_TPFLAGS_HAVE_GC) && type->tp_itemsize == 0
            && type->tp_basicsize == (Py_ssize_t)(sizeof(PyObject) + fields * sizeof(PyObject*));
    }
    """
    object like "tripline_like"(object of)
    bint is_plain "tripline_is_plain"(object of, Py_ssize_t fields) noexcept
