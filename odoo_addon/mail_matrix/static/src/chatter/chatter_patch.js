import {Chatter} from "@mail/chatter/web_portal/chatter";
import {patch} from "@web/core/utils/patch";

patch(Chatter.prototype, {
    /** What is written in the chatter may go to the room, and the form does not know. */
    onPostCallback() {
        super.onPostCallback(...arguments);
        this.env.bus.trigger("MATRIX-POSTED");
    },
});
