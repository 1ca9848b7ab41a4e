import {Message} from "@mail/core/common/message";
import {patch} from "@web/core/utils/patch";

patch(Message.prototype, {
    /** What failed in Matrix alone leads to its reason, and to where it is sent again. */
    async onClickNotification(ev) {
        const failures = this.message.failureNotifications;
        const isOurs = failures.every(({notification_type: type}) => type === "matrix");
        if (!failures.length || !isOurs) {
            return super.onClickNotification(ev);
        }
        const {action, orm} = this.env.services;
        const call = [[this.message.id]];
        return action.doAction(
            await orm.call("mail.message", "action_matrix_deliveries", call)
        );
    },
});
