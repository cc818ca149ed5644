/* What the files of the control side share. */
#ifndef RTLIB_MEDIA_CONTROL_H
#define RTLIB_MEDIA_CONTROL_H

#include "state.h"

/* Take the lock and note how long that took if somebody had it. */
void control_lock(struct engine *engine);
/* Remove all flows of a port that the media thread does not find any more. */
void control_forget_flows(struct engine *engine, struct port *port);

#endif
