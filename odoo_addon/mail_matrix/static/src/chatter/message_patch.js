import {Message} from "@mail/core/common/message";
import {patch} from "@web/core/utils/patch";

patch(Message.prototype, {
    /** Below a message Odoo shows the first way it went: the room is beside that. */
    get matrixBeside() {
        // Odoo 18, and Odoo 19.
        const notes = this.message.notifications ?? this.message.notification_ids;
        return notes.slice(1).find(({notification_type: type}) => type === "matrix");
    },

    /** What failed in Matrix alone leads to its reason, and to where it is sent again. */
    async onClickNotification(ev) {
        const failures = this.message.failureNotifications;
        const isOurs = failures.every(({notification_type: type}) => type === "matrix");
        if (!failures.length || !isOurs) {
            return super.onClickNotification(ev);
        }
        return this.openMatrixFailure();
    },

    async openMatrixFailure() {
        const {action, orm} = this.env.services;
        const call = [[this.message.id]];
        return action.doAction(
            await orm.call("mail.message", "action_matrix_deliveries", call)
        );
    },
});
